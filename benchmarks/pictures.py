"""The picture table: train under a clock, draw with one evaluation a sample, and let an outside judge compare.

    python benchmarks/pictures.py digits --minutes 1
    python benchmarks/pictures.py mnist --data MNIST_FOLDER --minutes 1.5 --peer ddpm.npz
    python benchmarks/pictures.py folder --data fashion_mnist_mini --family gan --minutes 3

The generator sees only its half of the digits or the folder (or MNIST's training files). The judge (judge_images.py) is
trained on the same real items and compares with the other half (or MNIST's test files); every number stands beside what as
many real training items score. ``--peer`` judges samples that another tool made.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from judge_images import balanced, fit, frechet, judge, look
from PIL import Image

from mintage.verbs.generate import draw
from mintage.verbs.load import load
from mintage.verbs.plan import Wish
from mintage.verbs.train import train

Half = tuple[np.ndarray, np.ndarray]  # pictures, labels


def read_idx(folder: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """LeCun's files: pictures [N, 28, 28] uint8 and labels [N]."""
    name = {"train": "train", "test": "t10k"}[split]
    data = [gzip.decompress((Path(folder) / f"{name}-{kind}-ubyte.gz").read_bytes()) for kind in ("images-idx3", "labels-idx1")]
    return np.frombuffer(data[0], np.uint8, offset=16).reshape(-1, 28, 28), np.frombuffer(data[1], np.uint8, offset=8).astype(
        np.int64
    )


def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits: pictures [N, 8, 8] uint8 and labels [N]."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return np.rint(found.images * 255 / 16).astype(np.uint8), found.target.astype(np.int64)


def class_folders(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of one size in folders by class: [N, H, W(, C)] uint8 and labels [N]."""
    paths = sorted(p for p in folder.rglob("*.png") if p.parent != folder)
    names = sorted({p.parent.name for p in paths})
    return np.stack([np.asarray(Image.open(p)) for p in paths]), np.array([names.index(p.parent.name) for p in paths])


def halves(x: np.ndarray, y: np.ndarray, folder: Path, seed: int) -> tuple[Half, Half, str]:
    """Two random halves; the first is written as class folders for the generator."""
    order = np.random.default_rng(seed).permutation(len(x))
    first, second = order[: len(x) // 2], order[len(x) // 2 :]
    for i in first:
        (folder / str(y[i])).mkdir(parents=True, exist_ok=True)
        Image.fromarray(x[i]).save(folder / str(y[i]) / f"{i}.png")
    return (x[first], y[first]), (x[second], y[second]), str(folder)


def sample(model: str, n: int, knobs: dict[str, int]) -> tuple[np.ndarray, np.ndarray, float]:
    """``n`` class-balanced pictures, their classes, and seconds."""
    loaded = load(model)
    names = loaded.recipe.cond["class"].channels
    asked = torch.arange(n) % len(names)
    draw(loaded, loaded.chunk, seed=10_000_000, knobs=knobs)
    begin = time.perf_counter()
    x = draw(loaded, n, seed=1, cond={"class": asked}, knobs=knobs)
    seconds = time.perf_counter() - begin
    pictures = np.stack([media.content for media in loaded.codec.decode(x, loaded.recipe.target)])
    return pictures, np.array([int(names[i]) for i in asked.tolist()]), seconds


def main() -> None:
    """Run one case and print it as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=["digits", "mnist", "folder"])
    parser.add_argument("--data", default="", help="MNIST's folder, or one with a folder for each class")
    parser.add_argument("--family", default="")
    parser.add_argument("-o", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--split", type=int, default=0, help="seed of the halves")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--n", type=int, default=0)
    parser.add_argument("--steps", type=int, nargs="*", default=[0], help="0: as the family samples by itself")
    parser.add_argument("--runs", default="bench-runs")
    parser.add_argument("--peer", default="")
    args = parser.parse_args()
    if args.case == "mnist":
        (x, y), (tx, ty), data = read_idx(args.data, "train"), read_idx(args.data, "test"), args.data
    else:
        source = digits() if args.case == "digits" else class_folders(Path(args.data))
        (x, y), (tx, ty), data = halves(*source, Path(args.runs) / f"{args.case}-half-{args.split}", args.split)
    n = args.n or min(len(x), len(tx), 5000)
    begin = time.perf_counter()
    name = f"bench-{args.case}-{args.family or 'default'}-{args.minutes:g}"
    wish = Wish(data, args.family, minutes=args.minutes, name=name, options=tuple(args.o))
    run = train(wish, runs=args.runs).run
    print(f"training in all {time.perf_counter() - begin:.1f} s")
    net = fit(x, y)
    rows, held = balanced(y, n), balanced(ty, n)
    real, (other, _) = judge(net, x[rows], y[rows], tx[held]), look(net, x[rows])
    _, read = look(net, tx)
    table = {"real train": asdict(real), "real test read right": float((read == ty).mean())}
    for steps in args.steps:
        made, asked, seconds = sample(str(run), n, {"steps": steps} if steps else {})
        scores = asdict(judge(net, made, asked, tx[held]))
        ratios = {"frechet_ratio": scores["frechet"] / real.frechet}  # an unbiased kernel distance of real items is about 0
        near_train = frechet(look(net, made)[0], other) / real.frechet
        table[f"made, {steps} evaluations"] = {
            **scores, **ratios, "frechet_to_train_ratio": near_train, "recall_ratio": scores["recall"] / real.recall,
            "ms_each": 1000 * seconds / n,
        }  # fmt: skip
        np.savez_compressed(Path(args.runs) / f"{args.case}-{steps}.npz", x=made, y=asked)
    if args.peer:
        theirs = np.load(args.peer)["made"]
        m = min(n, len(theirs))
        theirs_scores = asdict(judge(net, theirs[:m], np.zeros(m, np.int64), tx[held[:m]]))
        floor = judge(net, x[rows[:m]], y[rows[:m]], tx[held[:m]]).frechet
        table["peer"] = {**theirs_scores, "frechet_ratio": theirs_scores["frechet"] / floor}
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
