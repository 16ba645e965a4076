"""A hundred and fifty photographs: which family learns them, and which learns them by heart?

    python benchmarks/smalldata.py --data FLOWERS_FOLDER --minutes 2 gan gan:diffaugment=none flow vae

Thirty pictures of each class under ``train``, at 32 pixels, are all that a generator sees. The judge (judge_images.py) is
trained on the whole of ``train`` and compares with ``val``. Copies: the share of made pictures whose nearest neighbour
among the seen pictures is nearer than the one among as many unseen ones, in pixels; the unseen ones themselves score about
50 %, a copying machine 100 %. Each family is a name, with settings after colons.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from judge_images import balanced, fit, judge, to_tensor
from PIL import Image
from styles import SIDE, pixels, read

from mintage.verbs.generate import draw
from mintage.verbs.load import load
from mintage.verbs.plan import Wish
from mintage.verbs.train import train


def nearer(made: np.ndarray, seen: np.ndarray, unseen: np.ndarray) -> float:
    """Share of pictures that lie nearer to one of the seen than to any of as many unseen."""
    x, a, b = (to_tensor(part).flatten(1) for part in (made, seen, unseen[: len(seen)]))
    return float((torch.cdist(x, a).amin(1) < torch.cdist(x, b).amin(1)).float().mean())


def main() -> None:
    """Train each family on the same few pictures and print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="+")
    parser.add_argument("--data", required=True)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--each", type=int, default=30, help="pictures of each class")
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--runs", default="bench-runs")
    args = parser.parse_args()
    (x, y), (tx, ty) = read(Path(args.data) / "train"), read(Path(args.data) / "val")
    few = balanced(y, args.each * len(np.unique(y)), seed=1)
    folder = Path(args.runs) / f"few-{args.each}"
    for i in few:
        (folder / str(y[i])).mkdir(parents=True, exist_ok=True)
        Image.fromarray(x[i]).save(folder / str(y[i]) / f"{i}.png")
    net, held, other = fit(x, y, steps=500), balanced(ty, args.n), balanced(ty, len(few), seed=2)
    real = balanced(y, args.n)
    table = {
        "real train": {
            **judge(net, x[real], y[real], tx[held]).__dict__,
            "nearer to seen": nearer(tx[held], x[few], x[balanced(y, len(few), seed=3)]),
        }
    }
    for family in args.families:
        name, *options = family.split(":")
        wish = Wish(
            str(folder), name, minutes=args.minutes, size=str(SIDE), name="-".join(["few", name, *options]), options=tuple(options)
        )
        loaded = load(str(train(wish, runs=args.runs).run))
        names = loaded.recipe.cond["class"].channels
        asked = torch.arange(args.n) % len(names)
        made = pixels(loaded, draw(loaded, args.n, seed=1, cond={"class": asked}))
        labels = np.array([int(names[i]) for i in asked.tolist()])
        table[family] = {**judge(net, made, labels, tx[held]).__dict__, "nearer to seen": nearer(made, x[few], tx[other])}
        rows = made[:50].reshape(5, 10, SIDE, SIDE, 3).transpose(0, 2, 1, 3, 4).reshape(5 * SIDE, 10 * SIDE, 3)
        Image.fromarray(rows).resize((20 * SIDE, 10 * SIDE), Image.Resampling.NEAREST).save(
            Path(args.runs) / f"few-{family.replace(':', '-')}.png"
        )
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
