"""Spoken digits by label: is what was asked heard, are all speakers there, how long does a second of sound take?

    python benchmarks/sounds.py FSDD_FOLDER --minutes 5
    python benchmarks/sounds.py FSDD_FOLDER --model runs/recordings-flow     # one that is there already

The judges (judge_sounds.py) read digits and speakers; they learn from the collection's own training part (takes 5 to 49)
and are checked on its test part (takes 0 to 4). The generator is Mintage's default on the folder as it lies, and learns from
its own random four fifths. The way back without a model is judged too: real clips through the grid and back.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from judge_sounds import Judge, at_rate, fit, read, share

from mintage.nn.waves import as_floats, as_integers, resampled
from mintage.verbs.generate import draw
from mintage.verbs.load import load
from mintage.verbs.plan import Wish
from mintage.verbs.train import train


def parts(path: Path) -> tuple[str, str, int]:
    """Digit, speaker and take, which the name of a file says."""
    digit, speaker, take = path.stem.split("_")
    return digit, speaker, int(take)


def judges(folder: Path, kept: Path) -> dict[str, tuple[Judge, float]]:
    """Each judge with its own share of right readings on real held-out clips."""
    if kept.exists():
        return torch.load(kept, weights_only=False)
    files = sorted(folder.glob("*.wav"))
    seen, held = ([f for f in files if (parts(f)[2] >= 5) == which] for which in (True, False))
    waves, others = [read(f) for f in seen], [read(f) for f in held]
    found = {}
    for k, name in enumerate(("digit", "speaker")):
        judge = fit(waves, [parts(f)[k] for f in seen])
        found[name] = judge, share(judge.read(others), [parts(f)[k] for f in held])
    kept.parent.mkdir(parents=True, exist_ok=True)
    torch.save(found, kept)
    return found


def main() -> None:
    """Train, make, listen, and print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--family", default="")
    parser.add_argument("--model", default="")
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--runs", default="bench-runs")
    parser.add_argument("-o", action="append", default=[], dest="options")
    args = parser.parse_args()
    folder = next(iter(args.data.rglob("*.wav"))).parent
    ears = judges(folder, Path(args.runs) / "fsdd-judges.pt")
    name = "-".join(["fsdd", args.family or "flow", f"{args.minutes:g}", *args.options])
    wish = Wish(str(args.data), args.family, minutes=args.minutes, name=name, options=tuple(args.options))
    loaded = load(args.model or str(train(wish, runs=args.runs).run))
    names = loaded.recipe.cond["class"].channels
    asked = torch.arange(args.n) % len(names)
    begin = time.perf_counter()
    x = draw(loaded, args.n, seed=1, cond={"class": asked})
    drawn = time.perf_counter() - begin
    media = loaded.codec.decode(x, loaded.recipe.target)
    taken, rate = time.perf_counter() - begin, loaded.codec.rate
    waves = [at_rate(as_floats(thing.content), rate) for thing in media]
    digits, voices = (ears[key][0].read(waves) for key in ("digit", "speaker"))
    right = [names[i] for i in asked.tolist()]
    table = {
        "real held-out clips": {key: own for key, (_, own) in ears.items()},
        "read as asked": share(digits, right),
        "by digit": {c: share(*([v[i] for i in range(args.n) if right[i] == c] for v in (digits, right))) for c in names},
        "speakers": {who: n / args.n for who, n in Counter(voices).most_common()},
        "seconds of sound": float(np.mean([len(wave) / 8000 for wave in waves])),
        "seconds per second, drawing": drawn / sum(len(thing.content) / rate for thing in media),
        "seconds per second, all": taken / sum(len(thing.content) / rate for thing in media),
        "there and back": _there_and_back(loaded, folder, ears),
        "steps": loaded.card["steps"], "threads": loaded.recipe.threads,
    }  # fmt: skip
    print(json.dumps(table, indent=1))


def _there_and_back(loaded, folder: Path, ears: dict[str, tuple[Judge, float]]) -> dict[str, float]:
    """What the judges read in real test clips that went through the grid and back."""
    files = [f for f in sorted(folder.glob("*.wav")) if parts(f)[2] < 5]
    contents = [as_integers(resampled(read(f), 8000, 24000)) for f in files]
    media = loaded.codec.decode(loaded.codec.encode(contents, loaded.recipe.target), loaded.recipe.target)
    waves = [at_rate(as_floats(thing.content), loaded.codec.rate) for thing in media]
    return {key: share(ears[key][0].read(waves), [parts(f)[k] for f in files]) for k, key in enumerate(("digit", "speaker"))}


if __name__ == "__main__":
    main()
