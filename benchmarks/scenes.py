"""Pictures by caption: "a red disc left of a blue square", and pairs of colour and shape that never stood in the data.

    python benchmarks/scenes.py --minutes 5

2,000 scenes of two shapes are drawn here, each with a caption; four of the 24 pairs of colour and shape stand only in
questions. The judge is a small network with five heads (colour and shape of what is left or above, of what is right or below,
and which of the two it is), taught on other scenes with all pairs; what it reads of real ones stands beside every number.
All attributes of a scene are asked for at several strengths of guidance. It knows no perspective, and no third shape.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from mintage.verbs.generate import draw
from mintage.verbs.load import Loaded, load
from mintage.verbs.plan import Wish
from mintage.verbs.train import train

SIDE, SPRITE, LEAN = 32, 12, 3
COLOURS = {"red": (220, 40, 40), "green": (40, 170, 60), "blue": (50, 80, 230), "yellow": (230, 200, 40),
           "violet": (160, 60, 200), "black": (30, 30, 30)}  # fmt: skip
FORMS = ("disc", "square", "triangle", "cross")
PLACES = ("left of", "right of", "above", "below")
THINGS = list(product(COLOURS, FORMS))
GUIDANCE = (1.0, 1.5, 2.0, 4.0)
HEADS = {"first colour": 6, "first shape": 4, "second colour": 6, "second shape": 4, "axis": 2}
Scene = tuple[tuple[str, str], str, tuple[str, str]]  # what, where, of what


def unseen(thing: tuple[str, str]) -> bool:
    """One pair of each shape stands only in questions."""
    return list(COLOURS).index(thing[0]) == FORMS.index(thing[1])


def form(name: str) -> np.ndarray:
    """A disc, a square, a triangle or a cross. bool [S, S]"""
    y, x = (np.mgrid[:SPRITE, :SPRITE] + 0.5) / SPRITE * 2 - 1
    return {
        "disc": y**2 + x**2 < 0.9,
        "square": np.maximum(abs(y), abs(x)) < 0.8,
        "triangle": abs(x) < (y + 0.9) / 1.8,
        "cross": np.minimum(abs(y), abs(x)) < 0.3,
    }[name]


def caption(scene: Scene) -> str:
    """The sentence for a scene."""
    (colour, shape), place, (other, second) = scene
    return f"a {colour} {shape} {place} a {other} {second}"


def ordered(scene: Scene) -> list[int]:
    """The classes of the five heads: what is left or above comes first."""
    first, place, second = scene
    if place in ("right of", "below"):
        first, second = second, first
    (a, b), (c, d), names = first, second, list(COLOURS)
    return [names.index(a), FORMS.index(b), names.index(c), FORMS.index(d), int(place in ("above", "below"))]


def picture(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """A scene on a light ground. uint8 [H, W, 3]"""
    first, shape, second, other, axis = ordered(scene)
    found = np.full((SIDE, SIDE, 3), rng.uniform(200, 245), np.float32)
    level = rng.integers(LEAN, SIDE - SPRITE - LEAN + 1)
    for k, (colour, name) in enumerate(((first, shape), (second, other))):
        along = rng.integers(0, SIDE // 2 - SPRITE + 1) + k * SIDE // 2
        beside = level + rng.integers(-LEAN, LEAN + 1)  # so that what is left of something is not above it as well
        y, x = (along, beside) if axis else (beside, along)
        ink = np.array(list(COLOURS.values())[colour]) * rng.uniform(0.85, 1)
        np.copyto(found[y : y + SPRITE, x : x + SPRITE], ink.astype(np.float32), where=form(FORMS[name])[..., None])
    return found.astype(np.uint8)


def scenes(n: int, rng: np.random.Generator, things: list[tuple[str, str]]) -> list[Scene]:
    """Random scenes of these things."""
    pick = rng.integers(len(things), size=(n, 2))
    return [(things[a], PLACES[rng.integers(4)], things[b]) for a, b in pick]


def write(folder: Path, n: int) -> Path:
    """Scenes as files, with their captions."""
    rng, rows = np.random.default_rng(0), []
    folder.mkdir(parents=True, exist_ok=True)
    for k, scene in enumerate(scenes(n, rng, [thing for thing in THINGS if not unseen(thing)])):
        rows.append([f"{k:04d}.png", caption(scene)])
        Image.fromarray(picture(scene, rng)).save(folder / rows[-1][0])
    with open(folder / "captions.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file_name", "text"], *rows])
    return folder


class Judge(nn.Module):
    """Three convolutions and five heads."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in ((3, 32), (32, 64), (64, 64)))
        self.hidden = nn.Linear(64 * 16, 128)
        self.heads = nn.ModuleList(nn.Linear(128, n) for n in HEADS.values())

    def forward(self, x: Tensor) -> list[Tensor]:
        for conv in self.convs:
            x = F.relu(conv(x))
        x = F.relu(self.hidden(x.flatten(1)))
        return [head(x) for head in self.heads]


def as_input(x: np.ndarray) -> Tensor:
    """uint8 [N, H, W, 3] as floats [N, 3, H, W]."""
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))).float().div(127.5).sub(1)


def fit(steps: int = 1_500) -> Judge:
    """Taught on scenes of all pairs, a little grainy."""
    torch.manual_seed(0)
    rng, judge = np.random.default_rng(1), Judge()
    asked = scenes(12_000, rng, THINGS)
    x, y = as_input(np.stack([picture(scene, rng) for scene in asked])), torch.tensor([ordered(scene) for scene in asked])
    optim = torch.optim.AdamW(judge.parameters(), lr=2e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optim, 2e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(x), (128,))
        seen = x[rows] + 0.1 * torch.randn(128, *x.shape[1:])
        loss = sum(F.cross_entropy(logits, y[rows, i]) for i, logits in enumerate(judge(seen)))
        optim.zero_grad()
        loss.backward()
        optim.step()
        rate.step()
    return judge.eval()


@torch.no_grad()
def right(judge: Judge, x: np.ndarray, asked: list[Scene]) -> dict[str, float]:
    """Share of scenes whose attributes are read as asked, one by one and all together."""
    read = torch.stack([logits.argmax(1) for logits in judge(as_input(x))], 1)
    hits = read == torch.tensor([ordered(scene) for scene in asked])
    found = {name: float(hits[:, i].float().mean()) for i, name in enumerate(HEADS)}
    return {**found, "all five": float(hits.all(1).float().mean()), "mean of five": float(hits.float().mean())}


def made(loaded: Loaded, asked: list[Scene], guidance: float, sheet: Path) -> np.ndarray:
    """What the model draws of these scenes, the first of them on disk. uint8 [N, H, W, 3]"""
    ids = loaded.codec.encode_caption([caption(scene) for scene in asked], loaded.recipe.cond["caption"])
    x = draw(loaded, len(asked), 1, {"caption": ids}, knobs={"guidance": guidance})
    pictures = [
        np.asarray(Image.fromarray(thing.content).resize((SIDE, SIDE))) for thing in loaded.codec.decode(x, loaded.recipe.target)
    ]
    rows = [np.concatenate(pictures[i : i + 16], 1) for i in range(0, min(64, len(pictures) // 16 * 16), 16)]
    Image.fromarray(np.concatenate(rows)).save(sheet)
    return np.stack(pictures)


def main() -> None:
    """Train, make, read, and print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--family", default="")
    parser.add_argument("--n", type=int, default=300, help="16 at least")
    parser.add_argument("--runs", type=Path, default=Path("bench-runs"))
    parser.add_argument("-o", action="append", default=[], dest="options")
    args = parser.parse_args()
    data, name = write(args.runs / "scenes", 2_000), "-".join(["scenes", args.family or "flow", f"{args.minutes:g}", *args.options])
    wish = Wish(str(data), args.family, minutes=args.minutes, name=name, options=tuple(args.options))
    loaded = load(str(train(wish, runs=str(args.runs)).run))
    judge, rng = fit(), np.random.default_rng(2)
    known, new = [thing for thing in THINGS if not unseen(thing)], [thing for thing in THINGS if unseen(thing)]
    questions = {"seen pairs": scenes(args.n, rng, known), "unseen pairs": scenes(args.n, rng, new)}
    table: dict[str, object] = {"steps": loaded.card["steps"], "threads": loaded.recipe.threads}
    for which, asked in questions.items():
        table[f"{which}, real"] = right(judge, np.stack([picture(scene, rng) for scene in asked]), asked)
        for guidance in GUIDANCE:
            begin = time.perf_counter()
            x = made(loaded, asked, guidance, args.runs / f"{name}-{which.split()[0]}-{guidance:g}.png")
            each = (time.perf_counter() - begin) / args.n
            table[f"{which}, guidance {guidance:g}"] = {**right(judge, x, asked), "seconds each": each}
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
