"""Clips by label: is the asked action or direction read, and does it move as real clips do?

    python benchmarks/clips.py actions WEIZMANN_FOLDER --minutes 10
    python benchmarks/clips.py moving --minutes 3

``actions``: the judge (judge_clips.py) is one net for each person, taught without that person. ``moving``: digits that
move left, right, up or down, made here; the direction is read from the middle of what is bright, without any judge. Both
print the product's own motion scores for what was made, for held-out clips, for the sketch, for frozen clips (each made
of one real frame) and for shuffled ones, and save a strip of frames of each class.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from judge_clips import Judge, decoded, fit, windows
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


def moving(folder: Path, n: int = 400) -> Path:
    """Digits that move across a dim ground, one class a way."""
    digits, draw = load_digits().images, np.random.default_rng(0)
    for k in range(0 if folder.exists() else n):
        name, (down, right) = list(WAYS.items())[k % 4]
        sprite = Image.fromarray((digits[draw.integers(len(digits))] * 15.9).astype(np.uint8)).resize((SPRITE, SPRITE))
        speed, ground, light = draw.uniform(0.5, 1.2), draw.uniform(10, 60), draw.uniform(0.6, 1.0)
        room = SIDE - SPRITE - speed * (FRAMES - 1)
        along, beside = draw.uniform(0, room), draw.uniform(0, SIDE - SPRITE)
        frames = np.full((FRAMES, SIDE, SIDE), ground, np.float32)
        for t in range(FRAMES):
            gone = along + speed * (t if down + right > 0 else FRAMES - 1 - t)
            y, x = round(gone if down else beside), round(gone if right else beside)
            spot = frames[t, y : y + SPRITE, x : x + SPRITE]
            np.maximum(spot, light * np.asarray(sprite, np.float32), out=spot)
        (folder / name).mkdir(parents=True, exist_ok=True)
        write_webp(frames.astype(np.uint8)[..., None].repeat(3, -1), 12.5, folder / name / f"{k:03d}.webp")
    return folder


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
        return torch.load(kept, weights_only=False)
    files = sorted(folder.glob("*/*.mp4"))
    clips = [windows(decoded(path), frames, step, 8) for path in files]
    judge = fit(clips, [path.parent.name for path in files], [path.name.split("_")[0] for path in files])
    kept.parent.mkdir(parents=True, exist_ok=True)
    torch.save(judge, kept)
    return judge


def moves(loaded: Loaded, made: torch.Tensor, asked: torch.Tensor) -> dict[str, dict[str, str]]:
    """The product's motion scores of what was made, and of everything that it must be told from."""
    recipe = loaded.recipe
    dataset = reopen(recipe, loaded.codec, recipe.options)
    (seen, _), (held, _), (test, _) = (sampled(dataset, split, 1_000) for split in ("train", "holdout", "test"))
    sketch = draw(loaded, len(made), 1, {"class": asked}, sketch=True)
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
    parser.add_argument("case", choices=("actions", "moving"))
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--family", default="")
    parser.add_argument("--size", default="")
    parser.add_argument("--model", default="")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--runs", default="bench-runs")
    parser.add_argument("-o", action="append", default=[], dest="options")
    args = parser.parse_args()
    runs = Path(args.runs)
    data = args.data or moving(runs / "moving")
    name = "-".join([args.case, args.family or "flow", f"{args.minutes:g}", args.size, *args.options]).replace("--", "-")
    wish = Wish(str(data), args.family, minutes=args.minutes, size=args.size, name=name, options=tuple(args.options))
    loaded = load(args.model or str(train(wish, runs=args.runs).run))
    names, recipe = loaded.recipe.cond["class"].channels, loaded.recipe
    asked = torch.arange(args.n) % len(names)
    begin = time.perf_counter()
    x = draw(loaded, args.n, 1, {"class": asked})
    seconds = (time.perf_counter() - begin) / args.n
    clips = np.stack([thing.content for thing in loaded.codec.decode(x, recipe.target)])
    if args.case == "actions":
        frames, step = recipe.target.size("time"), max(1, round(25 / recipe.target.rate))
        judge = actions_judge(data, frames, step, runs / f"actions-judge-{frames}-{step}.pt")
        read, real = judge.read(clips), judge.real
    else:
        files = sorted(data.rglob("*.webp"))[::5]
        read = way(clips)
        real = float(np.mean([way(_frames(path)[None])[0] == path.parent.name for path in files]))
    right = np.array([a == names[i] for a, i in zip(read, asked.tolist(), strict=True)])
    strips = np.concatenate([filmstrip(clip, 16) for clip in clips[: 4 * len(names)]])
    Image.fromarray(strips).save(runs / f"{name}.png")
    table = {
        "real clips read right": real,
        "read as asked": float(right.mean()),
        "by class": {word: float(right[(asked == i).numpy()].mean()) for i, word in enumerate(names)},
        "motion": moves(loaded, x, asked),
        "seconds a clip": seconds,
        "size": "x".join(map(str, recipe.target.shape[1:])), "rate": recipe.target.rate,
        "steps": loaded.card["steps"], "threads": recipe.threads, "strips": str(runs / f"{name}.png"),
    }  # fmt: skip
    print(json.dumps(table, indent=1))


def _frames(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        found = []
        for k in range(picture.n_frames):
            picture.seek(k)
            found.append(np.array(picture.convert("RGB")))
        return np.stack(found)


if __name__ == "__main__":
    main()
