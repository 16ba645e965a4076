"""Does a family make every class, nearer to the data than the sketch? By class and without, judged from outside.

    python benchmarks/classes.py digits --family gan --minutes 3
    python benchmarks/classes.py mnist --data MNIST_FOLDER --family gan --minutes 3
    python benchmarks/classes.py folder --data fashion_mnist_mini/images --family gan --minutes 3 -o loss=wasserstein

The judge (judge_images.py) is trained on the items that the generator may see and compares with items it does not. Real
training items and the sketch stand beside. A class counts as made when the judge reads at least 3 % of the samples as it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from judge_images import balanced, fit, judge, look
from pictures import class_folders, digits, halves, read_idx

from mintage.verbs.generate import draw
from mintage.verbs.load import load
from mintage.verbs.plan import Wish
from mintage.verbs.train import train

LEAST = 0.03


def made_by(run: str, n: int, sketch: bool) -> tuple[np.ndarray, np.ndarray]:
    """``n`` pictures and what they were asked to be; without classes, zeros."""
    loaded = load(run)
    names = loaded.recipe.cond["class"].channels if "class" in loaded.recipe.cond else ("0",)
    asked = torch.arange(n) % len(names)
    cond = {"class": asked} if len(names) > 1 else {}
    x = draw(loaded, n, seed=1, cond=cond, sketch=sketch)
    pictures = np.stack([media.content for media in loaded.codec.decode(x, loaded.recipe.target)])
    return pictures, np.array([int(names[i]) for i in asked.tolist()])


def main() -> None:
    """Train by class and without, and print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=["digits", "mnist", "folder"])
    parser.add_argument("--data", default="")
    parser.add_argument("--family", default="gan")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--only", choices=["class", "none"])
    parser.add_argument("--runs", default="bench-runs")
    parser.add_argument("-o", action="append", default=[], dest="options")
    args = parser.parse_args()
    if args.case == "mnist":
        (x, y), (tx, ty), data = read_idx(args.data, "train"), read_idx(args.data, "test"), args.data
    else:
        source = digits() if args.case == "digits" else class_folders(Path(args.data))
        (x, y), (tx, ty), data = halves(*source, Path(args.runs) / f"{args.case}-half-0", 0)
    net, held = fit(x, y, steps=600), balanced(ty, args.n)
    rows = balanced(y, args.n)
    real = judge(net, x[rows], y[rows], tx[held])
    table = {"real train": {**real.__dict__, "test read right": float((look(net, tx)[1] == ty).mean())}}
    for how in (args.only,) if args.only else ("class", "none"):
        options = (*args.options, *(("class=none",) if how == "none" else ()))
        name = "-".join([args.case, args.family, how, f"{args.minutes:g}", *args.options])
        run = str(train(Wish(data, args.family, minutes=args.minutes, name=name, options=options), runs=args.runs).run)
        for sketch in (False, True):
            pictures, asked = made_by(run, args.n, sketch)
            score = judge(net, pictures, asked, tx[held])
            read = np.bincount(look(net, pictures)[1], minlength=10) / args.n
            table[f"{'sketch' if sketch else args.family}, {'by class' if how == 'class' else 'unconditional'}"] = {
                **score.__dict__, "frechet_ratio": score.frechet / real.frechet, "rarest class": float(read.min()),
                "classes made": int((read >= LEAST).sum()),
            }  # fmt: skip
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
