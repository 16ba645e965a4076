"""The style-based generator: what truncation and style mixing do, measured where layout and colour are known to be free.

    python benchmarks/styles.py --minutes 2
    python benchmarks/styles.py --data FLOWERS_FOLDER --minutes 60

Handwritten digits, each under a random tint, or the class folders under ``train`` and ``val`` at 32 pixels. The judge
(judge_images.py) is trained on what the generator saw and compares with the rest. Truncation: precision and recall at psi 1,
.7 and .5. Mixing: two samples a and b of one class; either the coarse layers of a are replaced by those of b, or the fine
ones. Layout is the grey picture averaged to 8 x 8 and standardised, colour the channels' shares of the light; each change
is printed as a share of the distance between a and b themselves, so that 0 is "as a" and 1 "as far as another picture".
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from judge_images import balanced, fit, judge
from pictures import digits, halves
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from mintage.verbs.generate import draw
from mintage.verbs.load import Loaded, load
from mintage.verbs.plan import Wish
from mintage.verbs.train import train

SIDE = 32


def read(folder: Path, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Class folders → pictures [N, side, side, 3] and labels [N]."""
    names = sorted(p.name for p in folder.iterdir() if p.is_dir())
    found = [(path, label) for label, name in enumerate(names) for path in sorted((folder / name).iterdir())]
    pictures = [np.asarray(Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BOX)) for path, _ in found]
    return np.stack(pictures), np.array([label for _, label in found], np.int64)


def tinted(folder: Path) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Digits under random tints in two halves; the first is written as class folders."""
    (x, y), rng = digits(), np.random.default_rng(5)
    tint = rng.dirichlet(np.ones(3), len(x))
    pictures = np.rint(x[..., None] * (tint / tint.max(1, keepdims=True))[:, None, None]).astype(np.uint8)
    first, second, _ = halves(pictures, y, folder, 0)
    return first, second


def pixels(loaded: Loaded, x: Tensor) -> np.ndarray:
    """Model form → bytes [N, H, W, 3]."""
    return np.stack([media.content for media in loaded.codec.decode(x, loaded.recipe.target)])


def layout(x: Tensor) -> Tensor:
    """Where it is light and dark, whatever the contrast. [N, 3, H, W] → [N, 64]"""
    grey = F.adaptive_avg_pool2d(x.mean(1, keepdim=True), 8).flatten(1)
    grey = grey - grey.mean(1, keepdim=True)
    return grey / grey.norm(dim=1, keepdim=True).clamp(min=1e-6)


def colour(x: Tensor) -> Tensor:
    """Which light the picture has, however much of it. [N, 3, H, W] → [N, 3]"""
    light = (x + 1).sum((2, 3))
    return light / light.sum(1, keepdim=True).clamp(min=1e-6)


def mixing(loaded: Loaded, pairs: int, at: int) -> dict[str, dict[str, float]]:
    """Change of layout and of colour under each half of the layers."""
    classes = len(loaded.recipe.cond["class"].channels) if "class" in loaded.recipe.cond else 1
    kinds: dict[str, list[Tensor]] = {"a": [], "b": [], "coarse from b": [], "fine from b": []}
    for pair in range(pairs):
        one, two = 2 * pair, 2 * pair + 1
        cond = {"class": torch.tensor([pair % classes])} if classes > 1 else {}
        kinds["a"].append(draw(loaded, 1, cond=cond, seeds=[one]))
        kinds["b"].append(draw(loaded, 1, cond=cond, seeds=[two]))
        kinds["fine from b"].append(draw(loaded, 1, cond=cond, seeds=[one], knobs={"mix": two, "mix_from": at}))
        kinds["coarse from b"].append(draw(loaded, 1, cond=cond, seeds=[two], knobs={"mix": one, "mix_from": at}))
    x = {name: torch.cat(rows) for name, rows in kinds.items()}
    found: dict[str, dict[str, float]] = {}
    for name in ("coarse from b", "fine from b"):
        found[name] = {
            what.__name__: float(
                (what(x[name]) - what(x["a"])).norm(dim=1).mean() / (what(x["b"]) - what(x["a"])).norm(dim=1).mean()
            )
            for what in (layout, colour)
        }
    return found


def main() -> None:
    """Train, draw and print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--n", type=int, default=600)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--mix-from", type=int, default=2)
    parser.add_argument("--runs", default="bench-runs")
    args = parser.parse_args()
    if args.data:
        first, second = (read(Path(args.data) / part) for part in ("train", "val"))
        data, size = f"{args.data}/train", str(SIDE)
    else:
        data, size = str(Path(args.runs) / "tinted"), ""
        first, second = tinted(Path(data))
    (x, y), (tx, ty) = first, second
    wish = Wish(data, "gan", minutes=args.minutes, size=size, name="styles", options=("generator=style",))
    loaded = load(str(train(wish, runs=args.runs).run))
    net, held = fit(x, y, steps=500), balanced(ty, args.n)
    asked = torch.arange(args.n) % len(loaded.recipe.cond["class"].channels)
    table: dict[str, object] = {"real train": judge(net, x[balanced(y, args.n)], y[balanced(y, args.n)], tx[held]).__dict__}
    for psi in (1.0, 0.7, 0.5):
        made = draw(loaded, args.n, seed=1, cond={"class": asked}, knobs={"truncation": psi})
        table[f"truncation {psi:g}"] = judge(net, pixels(loaded, made), asked.numpy(), tx[held]).__dict__
    table["mixing"] = mixing(loaded, args.pairs, args.mix_from)
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
