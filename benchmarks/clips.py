"""Clips by label or caption: is the asked action, direction or colour read, and does it move as real clips do?

    python benchmarks/clips.py actions WEIZMANN_FOLDER --minutes 10
    python benchmarks/clips.py moving --minutes 3
    python benchmarks/clips.py shapes --minutes 8

``actions``: the judge (judge_clips.py) is one net for each person, taught without that person. ``moving``: digits that
move left, right, up or down, made here; the direction is read from the middle of what is bright, without any judge.
``shapes``: discs, squares and triangles of six colours with a caption each, "a red disc moves left"; the colour is the nearest of
the six to what stands out, and six pairs of shape and colour never stand together in the data. All
print the product's own motion scores for what was made, for held-out clips, for the sketch, for frozen clips (each made
of one real frame) and for shuffled ones, and save a strip of frames of each class.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from judge_clips import Judge, Net, decoded, fit, windows
from PIL import Image
from sklearn.datasets import load_digits

from mintage.core.spec import Evidence
from mintage.metrics import flicker, motion
from mintage.nn.clips import filmstrip
from mintage.nn.footage import write_webp
from mintage.nn.noise import Noise
from mintage.verbs.dataset import reopen
from mintage.verbs.generate import draw
from mintage.verbs.judging import sampled
from mintage.verbs.load import Loaded, load
from mintage.verbs.plan import Wish
from mintage.verbs.train import train

WAYS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
FRAMES, SIDE, SPRITE = 16, 32, 12
COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 80, 230), "yellow": (230, 210, 50),
           "violet": (170, 60, 200), "white": (240, 240, 240)}  # fmt: skip
FORMS = ("disc", "square", "triangle")


def moving(folder: Path, n: int = 400) -> Path:
    """Digits that move across a dim ground, one class a way."""
    digits, draw = load_digits().images, np.random.default_rng(0)
    for k in range(0 if folder.exists() else n):
        name = list(WAYS)[k % 4]
        sprite = Image.fromarray((digits[draw.integers(len(digits))] * 15.9).astype(np.uint8)).resize((SPRITE, SPRITE))
        light = draw.uniform(0.6, 1.0) * np.asarray(sprite, np.float32)
        frames = carried(light[..., None].repeat(3, -1), name, draw)
        (folder / name).mkdir(parents=True, exist_ok=True)
        write_webp(frames, 12.5, folder / name / f"{k:03d}.webp")
    return folder


def carried(sprite: np.ndarray, name: str, draw: np.random.Generator) -> np.ndarray:
    """A sprite [S, S, 3] on its way over a dim ground. uint8 [T, H, W, 3]"""
    down, right = WAYS[name]
    speed, ground = draw.uniform(0.5, 1.2), draw.uniform(10, 60)
    room = SIDE - SPRITE - speed * (FRAMES - 1)
    along, beside = draw.uniform(0, room), draw.uniform(0, SIDE - SPRITE)
    frames = np.full((FRAMES, SIDE, SIDE, 3), ground, np.float32)
    for t in range(FRAMES):
        gone = along + speed * (t if down + right > 0 else FRAMES - 1 - t)
        y, x = round(gone if down else beside), round(gone if right else beside)
        spot = frames[t, y : y + SPRITE, x : x + SPRITE]
        np.copyto(spot, sprite, where=sprite.max(-1, keepdims=True) > ground)
    return frames.astype(np.uint8)


def form(name: str) -> np.ndarray:
    """A disc, a square or a triangle. bool [S, S]"""
    y, x = (np.mgrid[:SPRITE, :SPRITE] + 0.5) / SPRITE * 2 - 1
    return {"disc": y**2 + x**2 < 0.9, "square": np.maximum(abs(y), abs(x)) < 0.8, "triangle": abs(x) < (y + 0.9) / 1.8}[name]


def unseen(colour: str, shape: str) -> bool:
    """Six of the eighteen pairs stand only in questions."""
    return (list(COLOURS).index(colour) + FORMS.index(shape)) % 3 == 0


def shapes(folder: Path, n: int = 600) -> Path:
    """Coloured shapes on their way, each with a caption."""
    draw, rows = np.random.default_rng(0), []
    kinds = [(colour, shape, name) for colour in COLOURS for shape in FORMS for name in WAYS if not unseen(colour, shape)]
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(n):
        colour, shape, name = kinds[k % len(kinds)]
        sprite = form(shape)[..., None] * np.array(COLOURS[colour]) * draw.uniform(0.8, 1)
        rows.append([f"{k:03d}.webp", f"a {colour} {shape} moves {name}"])
        write_webp(carried(sprite.astype(np.float32), name, draw), 12.5, folder / rows[-1][0])
    with open(folder / "captions.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file_name", "text"], *rows])
    return folder


def colour(clips: np.ndarray) -> list[str]:
    """The nearest of the six colours to what differs most from the ground, in direction of colour. [N, T, H, W, 3]"""
    found = []
    for clip in clips.astype(np.float32):
        apart = np.abs(clip - np.median(clip, (1, 2), keepdims=True)).sum(-1)
        own = clip[apart >= np.quantile(apart, 0.95)].mean(0)
        chroma = {name: np.array(value) / np.linalg.norm(value) for name, value in COLOURS.items()}
        found.append(max(chroma, key=lambda name, own=own, chroma=chroma: float(chroma[name] @ own)))
    return found


def way(clips: np.ndarray) -> list[str]:
    """The direction in which the middle of what is bright moves in each clip. [N, T, H, W, C]"""
    bright = clips.astype(np.float32).mean(-1)
    bright = np.maximum(bright - np.median(bright, (2, 3), keepdims=True) - 25, 0) + 1e-3
    y, x = np.mgrid[: clips.shape[2], : clips.shape[3]]
    found = []
    for clip in bright:
        where = np.stack([(clip * axis).sum((1, 2)) / clip.sum((1, 2)) for axis in (y, x)], 1)  # [T, 2]
        down, right = np.polyfit(np.arange(len(where)), where, 1)[0]
        found.append(("down" if down > 0 else "up") if abs(down) > abs(right) else ("right" if right > 0 else "left"))
    return found


def actions_judge(folder: Path, frames: int, step: int, kept: Path) -> Judge:
    """The nets for these files, taught once."""
    if kept.exists():
        weights, names, real = torch.load(kept)
        nets = {person: Net(len(names)) for person in weights}
        for person, net in nets.items():
            net.load_state_dict(weights[person])
        return Judge({person: net.eval() for person, net in nets.items()}, names, real)
    files = sorted(folder.glob("*/*.mp4"))
    clips = [windows(decoded(path), frames, step, 8) for path in files]
    judge = fit(clips, [path.parent.name for path in files], [path.name.split("_")[0] for path in files])
    kept.parent.mkdir(parents=True, exist_ok=True)
    torch.save(({person: net.state_dict() for person, net in judge.nets.items()}, judge.names, judge.real), kept)
    return judge


def moves(loaded: Loaded, made: torch.Tensor, cond: dict[str, torch.Tensor]) -> dict[str, dict[str, str]]:
    """The product's motion scores of what was made, and of everything that it must be told from."""
    recipe = loaded.recipe
    dataset = reopen(recipe, loaded.codec, recipe.options)
    (seen, _), (held, _), (test, _) = (sampled(dataset, split, 1_000) for split in ("train", "holdout", "test"))
    sketch = draw(loaded, len(made), 1, cond, sketch=True)
    frozen = seen[: len(made), :, :1].expand_as(seen[: len(made)])
    shuffled = seen[: len(made)][:, :, torch.randperm(seen.shape[2], generator=torch.Generator().manual_seed(0))]
    backwards = seen[: len(made)].flip(2)
    whole = Evidence(recipe.target, made, {}, seen, held, test, {}, None, None, Noise("clips"))
    rows = {"made": made, "held out": held, "sketch": sketch, "frozen": frozen, "shuffled": shuffled, "backwards": backwards}
    table = {}
    for name, x in rows.items():
        scores = [*motion.Metric()(replace(whole, made=x)), *flicker.Metric()(replace(whole, made=x))]
        table[name] = {score.name: f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})" for score in scores}
    return table


def main() -> None:
    """Train, make, read, and print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=("actions", "moving", "shapes"))
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--family", default="")
    parser.add_argument("--size", default="")
    parser.add_argument("--model", default="")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--runs", default="bench-runs")
    parser.add_argument("-o", action="append", default=[], dest="options")
    args = parser.parse_args()
    if args.case == "actions" and not args.data:
        parser.error("name the folder of the data")
    args.runs = Path(args.runs)
    data = args.data or {"moving": moving, "shapes": shapes}[args.case](args.runs / args.case)
    args.name = "-".join([args.case, args.family or "flow", f"{args.minutes:g}", args.size, *args.options]).replace("--", "-")
    wish = Wish(str(data), args.family, minutes=args.minutes, size=args.size, name=args.name, options=tuple(args.options))
    loaded = load(args.model or str(train(wish, runs=str(args.runs)).run))
    print(json.dumps((captioned if args.case == "shapes" else classes)(args, data, loaded), indent=1))


def made(args: argparse.Namespace, loaded: Loaded, cond: dict[str, torch.Tensor]) -> tuple[np.ndarray, dict[str, object]]:
    """Clips [N, T, H, W, C], a strip of the first of them on disk, and what is said of all alike."""
    recipe, begin = loaded.recipe, time.perf_counter()
    x = draw(loaded, args.n, 1, cond)
    seconds = (time.perf_counter() - begin) / args.n
    clips = np.stack([thing.content for thing in loaded.codec.decode(x, recipe.target)])
    Image.fromarray(np.concatenate([filmstrip(clip, 16) for clip in clips[:24]])).save(args.runs / f"{args.name}.png")
    return clips, {
        "motion": moves(loaded, x, cond), "seconds a clip": seconds, "size": "x".join(map(str, recipe.target.shape[1:])),
        "rate": recipe.target.rate, "steps": loaded.card["steps"], "threads": recipe.threads, "strips": f"{args.name}.png",
    }  # fmt: skip


def classes(args: argparse.Namespace, data: Path, loaded: Loaded) -> dict[str, object]:
    """Actions and directions by label."""
    names, recipe = loaded.recipe.cond["class"].channels, loaded.recipe
    asked = torch.arange(args.n) % len(names)
    clips, facts = made(args, loaded, {"class": asked})
    if args.case == "actions":
        frames, step = recipe.target.size("time"), max(1, round(25 / recipe.target.rate))
        judge = actions_judge(data, frames, step, args.runs / f"actions-judge-{frames}-{step}.pt")
        read, real = judge.read(clips), judge.real
    else:
        files = sorted(data.rglob("*.webp"))[::5]
        read = way(clips)
        real = float(np.mean([way(_frames(path)[None])[0] == path.parent.name for path in files]))
    right = np.array([a == names[i] for a, i in zip(read, asked.tolist(), strict=True)])
    by_class = {word: float(right[(asked == i).numpy()].mean()) for i, word in enumerate(names)}
    return {"real clips read right": real, "read as asked": float(right.mean()), "by class": by_class, **facts}


def captioned(args: argparse.Namespace, data: Path, loaded: Loaded) -> dict[str, object]:
    """Colour and direction by caption, of pairs of colour and shape that were seen and of those that were not."""
    table: dict[str, object] = {}
    with open(data / "captions.csv", newline="", encoding="utf-8") as file:
        real = [(row["text"].split(), _frames(data / row["file_name"])[None]) for row in list(csv.DictReader(file))[::5]]
    table["real clips read right"] = {
        "colour": float(np.mean([colour(clip)[0] == words[1] for words, clip in real])),
        "direction": float(np.mean([way(clip)[0] == words[-1] for words, clip in real])),
    }
    spec, name = loaded.recipe.cond["caption"], args.name
    for new in (False, True):
        kinds = [(c, shape, w) for w in WAYS for shape in FORMS for c in COLOURS if unseen(c, shape) == new]
        asked = [kinds[k % len(kinds)] for k in range(args.n)]
        args.name = f"{name}-{'unseen' if new else 'seen'}"
        cond = {"caption": loaded.codec.encode_caption([f"a {c} {shape} moves {w}" for c, shape, w in asked], spec)}
        clips, facts = made(args, loaded, cond)
        table["unseen pairs" if new else "seen pairs"] = {
            "colour": float(np.mean([a == b[0] for a, b in zip(colour(clips), asked, strict=True)])),
            "direction": float(np.mean([a == b[2] for a, b in zip(way(clips), asked, strict=True)])),
            "first asked": [" ".join(words) for words in asked[:8]], **facts,
        }  # fmt: skip
    return table


def _frames(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        found = []
        for k in range(picture.n_frames):
            picture.seek(k)
            found.append(np.array(picture.convert("RGB")))
        return np.stack(found)


if __name__ == "__main__":
    main()
