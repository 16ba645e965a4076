"""Tunes to fit a film: are the tempo and the mood that a caption asks for those of the tune, and does it end with the scene?

    python benchmarks/moods.py NOTTINGHAM_FOLDER --minutes 5

Passages of eight and sixteen bars of the tunes get one of three tempos and a caption such as "slow sad tune": sad is a minor key,
happy a major one; of the fewer sad tunes three times as many passages are taken. What is made, with ``-o seconds=`` of three
scenes, is read from its MIDI file by another library than the product's own: the tempo must lie nearest to the asked one's middle,
the tune last as long as asked to within 2 %, and the key be of the asked mode by the profiles of Krumhansl and Kessler (1982).
Captions here are simpler than what people write.
"""

from __future__ import annotations

import argparse
import csv
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import symusic

from mintage.core.errors import BadItem
from mintage.nn import midi
from mintage.nn.tune import TEMPO, bars, excerpt, is_bar
from mintage.verbs.generate import draw
from mintage.verbs.load import Loaded, load
from mintage.verbs.plan import Wish
from mintage.verbs.train import train

TEMPOS = {"slow": (60, 76), "walking": (96, 116), "fast": (150, 190)}  # beats a minute
LENGTHS = (8, 16)  # bars of a passage
SCENES = (12, 20, 45)  # seconds
KEYS = {
    "happy": [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88],
    "sad": [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17],
}


def mood(score: symusic.Score) -> str:
    """Sad if a minor key fits its pitches better than any major one."""
    own = [track.notes.numpy() for track in score.tracks if not track.is_drum]
    heard = sum((np.bincount(notes["pitch"] % 12, notes["duration"], 12) for notes in own), np.zeros(12))
    if not heard.any():
        return "silent"
    fit = {name: max(np.corrcoef(np.roll(profile, k), heard)[0, 1] for k in range(12)) for name, profile in KEYS.items()}
    return max(fit, key=lambda name: fit[name])


def tempo(score: symusic.Score) -> str:
    """The nearest of the three, on a scale of ratios."""
    pace = score.tempos[0].qpm if len(score.tempos) else 120
    return min(TEMPOS, key=lambda name: abs(np.log(pace / np.mean(TEMPOS[name]))))


def seconds(score: symusic.Score) -> float:
    """When the last bar has ended, in the metre and at the tempos of the file."""
    first = score.time_signatures[0] if len(score.time_signatures) else None
    bar = score.ticks_per_quarter * (4 * first.numerator / first.denominator if first else 4)
    end, at, lasts = np.ceil(score.end() / bar - 1e-3) * bar, 0.0, 0.0
    changes = [(t.time, t.qpm) for t in score.tempos] + [(end, 120)]
    for (start, pace), (stop, _) in pairwise(changes):
        lasts += (min(stop, end) - max(at, start)) / score.ticks_per_quarter * 60 / pace
    return float(lasts)


def read(data: bytes) -> dict[str, str]:
    """What another ear hears in a file."""
    score = symusic.Score.from_midi(data)
    return {"tempo": tempo(score), "mood": mood(score)}


def caption(heard: dict[str, str]) -> str:
    """What it is called."""
    return f"{heard['tempo']} {heard['mood']} tune"


def passages(source: Path, folder: Path) -> Path:
    """Parts of the tunes, with a tempo each and a caption that says what is heard."""
    draw = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for path in {path.stem: path for path in sorted(source.rglob("*.mid"))}.values():
        try:
            tune = midi.read(path.read_bytes())
        except BadItem:
            continue
        for k in range(6 if mood(symusic.Score.from_midi(midi.write(tune))) == "sad" else 2):
            at = int(draw.integers(0, max(1, len(bars(tune)) // 4))) * 4
            part = excerpt(tune, at, at + int(draw.choice(LENGTHS))).copy()
            low, high = list(TEMPOS.values())[draw.integers(3)]
            part[is_bar(part), TEMPO] = draw.integers(low, high + 1)
            if len(part):
                data = midi.write(part)
                (folder / f"{path.stem}-{k}.mid").write_bytes(data)
                rows.append([f"{path.stem}-{k}.mid", caption(read(data))])
    with open(folder / "captions.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file_name", "text"], *rows])
    return folder


def obeyed(loaded: Loaded, n: int) -> dict[str, object]:
    """The share of tunes that have what was asked for, every combination as often."""
    wanted = [{"tempo": a, "mood": b} for b in KEYS for a in TEMPOS]
    asked, files, lasts = [wanted[k % len(wanted)] for k in range(n)], list[bytes](), []
    spec = loaded.recipe.cond["caption"]
    x = draw(loaded, n, 1, {"caption": loaded.codec.encode_caption([caption(row) for row in asked], spec)})
    for k in range(n):
        scene = SCENES[k // len(wanted) % len(SCENES)]
        loaded.codec.configure({"seconds": str(scene)})
        files.append(midi.write(loaded.codec.decode(x[k : k + 1], loaded.recipe.target)[0].content))
        lasts.append(seconds(symusic.Score.from_midi(files[-1])) / scene)
    found = [read(data) for data in files]
    right = {key: np.array([a[key] == b[key] for a, b in zip(asked, found, strict=True)]) for key in ("tempo", "mood")}
    right["length"] = np.abs(np.array(lasts) - 1) < 0.02
    folder = loaded.run.path / "asked"
    folder.mkdir(exist_ok=True)
    for k, data in enumerate(files[:18]):
        (folder / f"{caption(asked[k])} {k}.mid").write_bytes(data)
    return {
        **{key: float(own.mean()) for key, own in right.items()},
        "by mood": {m: float(right["mood"][[row["mood"] == m for row in asked]].mean()) for m in KEYS},
        "all three": float(np.logical_and.reduce(list(right.values())).mean()),
    }


def main() -> None:
    """Make the data, train, ask, read, and print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--family", default="gpt")
    parser.add_argument("--model", default="")
    parser.add_argument("--n", type=int, default=180)
    parser.add_argument("--runs", default="bench-runs")
    parser.add_argument("-o", action="append", default=[], dest="options")
    args = parser.parse_args()
    folder = passages(args.data, Path(args.runs) / "moods")
    name = "-".join(["moods", args.family, f"{args.minutes:g}", *args.options])
    wish = Wish(str(folder), args.family, minutes=args.minutes, name=name, options=tuple(args.options))
    loaded = load(args.model or str(train(wish, runs=args.runs).run))
    print(json.dumps({**obeyed(loaded, args.n), "steps": loaded.card["steps"], "threads": loaded.recipe.threads}, indent=1))


if __name__ == "__main__":
    main()
