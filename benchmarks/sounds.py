"""Sounds as asked: spoken digits by label, pairs of digit and speaker never heard together, effects by class.

    python benchmarks/sounds.py digits FSDD_FOLDER --minutes 5
    python benchmarks/sounds.py digits FSDD_FOLDER --model runs/recordings-flow     # one that is there already
    python benchmarks/sounds.py pairs FSDD_FOLDER --minutes 5
    python benchmarks/sounds.py effects --minutes 5

``digits``: the judges (judge_sounds.py) read digits and speakers; they learn from the collection's own training part (takes 5
to 49) and are checked on its test part (takes 0 to 4). The generator is Mintage's default on the folder as it lies, and learns
from its own random four fifths. The way back without a model is judged too: real clips through the grid and back.
``pairs``: each clip has a caption, "theo says seven"; two digits of each speaker are kept away from the generator and asked of it.
``effects``: eight kinds of sounds for a game, made here (effects.py); the judge learns from others than the generator.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from effects import KINDS, write
from judge_sounds import Judge, Net, Waves, at_rate, fit, heard, read, share

from mintage.nn.waves import as_floats, as_integers, resampled
from mintage.verbs.generate import draw
from mintage.verbs.load import Loaded, load
from mintage.verbs.plan import Wish
from mintage.verbs.train import train

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def share_of(right: Iterable[bool]) -> float:
    """How many are."""
    return float(np.mean(list(right)))


def parts(path: Path) -> tuple[str, str, int]:
    """Digit, speaker and take, which the name of a file says."""
    digit, speaker, take = path.stem.split("_")
    return digit, speaker, int(take)


def judges(folder: Path, kept: Path) -> dict[str, tuple[Judge, float]]:
    """Each judge with its own share of right readings on real held-out clips."""
    if kept.exists():
        return {name: (judge_of(*own), real) for name, (*own, real) in torch.load(kept).items()}
    files = sorted(folder.glob("*.wav"))
    seen, held = ([f for f in files if (parts(f)[2] >= 5) == which] for which in (True, False))
    waves, others = [read(f) for f in seen], [read(f) for f in held]
    found = {}
    for k, name in enumerate(("digit", "speaker")):
        judge = fit(waves, [parts(f)[k] for f in seen])
        found[name] = judge, share(judge.read(others), [parts(f)[k] for f in held])
    kept.parent.mkdir(parents=True, exist_ok=True)
    torch.save({name: (judge.net.state_dict(), judge.names, real) for name, (judge, real) in found.items()}, kept)
    return found


def judge_of(weights: dict[str, torch.Tensor], names: tuple[str, ...]) -> Judge:
    """A judge that was kept."""
    net = Net(len(names))
    net.load_state_dict(weights)
    return Judge(net.to(memory_format=torch.channels_last).eval(), names)


def trained(args: argparse.Namespace, data: Path) -> Loaded:
    """The model that was named, or the product's default on the data."""
    name = "-".join([args.case, args.family or "flow", f"{args.minutes:g}", *args.options])
    wish = Wish(str(data), args.family, minutes=args.minutes, name=name, options=tuple(args.options))
    return load(args.model or str(train(wish, runs=args.runs).run))


def made(loaded: Loaded, cond: dict[str, torch.Tensor]) -> tuple[Waves, float, float, float]:
    """Sounds as the judge hears them; seconds that they last, that drawing took, and that all took."""
    begin = time.perf_counter()
    x = draw(loaded, len(next(iter(cond.values()))), seed=1, cond=cond)
    drawn = time.perf_counter() - begin
    media, rate = loaded.codec.decode(x, loaded.recipe.target), loaded.codec.rate
    taken = time.perf_counter() - begin
    return [at_rate(as_floats(m.content), rate) for m in media], sum(len(m.content) / rate for m in media), drawn, taken


def digits(args: argparse.Namespace) -> dict[str, object]:
    """Digits by label."""
    folder = next(iter(args.data.rglob("*.wav"))).parent
    ears = judges(folder, Path(args.runs) / "fsdd-judges.pt")
    loaded = trained(args, args.data)
    names = loaded.recipe.cond["class"].channels
    asked = torch.arange(args.n) % len(names)
    waves, lasting, drawn, taken = made(loaded, {"class": asked})
    said, voices = (ears[key][0].read(waves) for key in ("digit", "speaker"))
    right = [names[i] for i in asked.tolist()]
    return {
        "real held-out clips": {key: own for key, (_, own) in ears.items()},
        "read as asked": share(said, right),
        "by digit": {c: share(*([v[i] for i in range(args.n) if right[i] == c] for v in (said, right))) for c in names},
        "speakers": {who: n / args.n for who, n in Counter(voices).most_common()},
        "seconds of sound": lasting / args.n,
        "seconds per second, drawing": drawn / lasting, "seconds per second, all": taken / lasting,
        "there and back": _there_and_back(loaded, folder, ears),
        "steps": loaded.card["steps"], "threads": loaded.recipe.threads,
    }  # fmt: skip


def pairs(args: argparse.Namespace) -> dict[str, object]:
    """Digit and speaker by caption, of which two pairs of each speaker were never heard."""
    files = sorted(args.data.rglob("*.wav"))
    ears, folder = judges(files[0].parent, Path(args.runs) / "fsdd-judges.pt"), Path(args.runs) / "pairs"
    people = sorted({parts(f)[1] for f in files})
    unheard = {(str((3 * k + more) % 10), who) for k, who in enumerate(people) for more in (0, 5)}
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "captions.csv", "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["file_name", "text"])
        for path in files:
            if parts(path)[:2] not in unheard:
                os.path.lexists(folder / path.name) or (folder / path.name).symlink_to(path.resolve())
                out.writerow([path.name, caption(*parts(path)[:2])])
    loaded = trained(args, folder)
    spec, table = loaded.recipe.cond["caption"], {"steps": loaded.card["steps"]}
    table |= {"real held-out clips": {key: own for key, (_, own) in ears.items()}, "pairs kept away": sorted(unheard)}
    others = sorted({parts(f)[:2] for f in files} - unheard)
    for name, asked in (("unheard", sorted(unheard)), ("heard", others)):
        rows = [asked[k % len(asked)] for k in range(args.n)]
        waves, *_ = made(loaded, {"caption": loaded.codec.encode_caption([caption(*row) for row in rows], spec)})
        voices, said = (ears[key][0].read(waves) for key in ("speaker", "digit"))
        right = [(digit == a, who == b) for digit, who, (a, b) in zip(said, voices, rows, strict=True)]
        table[name] = {"digit": share_of(a for a, _ in right), "speaker": share_of(b for _, b in right),
                       "both": share_of(a and b for a, b in right)}  # fmt: skip
    return table


def caption(digit: str, who: str) -> str:
    """What the pair is called."""
    return f"{who} says {DIGITS[int(digit)]}"


def effects(args: argparse.Namespace) -> dict[str, object]:
    """Effects by class: read as asked, and how far apart takes of a kind are beside real ones."""
    folder, other, test = (write(Path(args.runs) / name, each, seed) for name, each, seed in
                           (("effects", 60, 0), ("effects-judge", 60, 1), ("effects-test", 25, 2)))  # fmt: skip
    known, held = (sorted(part.glob("*/*.wav")) for part in (other, test))
    judge = fit([read(f) for f in known], [f.parent.name for f in known])
    loaded = trained(args, folder)
    names = loaded.recipe.cond["class"].channels
    asked = torch.arange(args.n) % len(names)
    waves, lasting, _, taken = made(loaded, {"class": asked})
    spread = {}
    for k, name in enumerate(names):
        own = [waves[i] for i in range(args.n) if asked[i] == k], [read(f) for f in held if f.parent.name == name]
        apart = [torch.pdist(heard(side).flatten(1)) for side in own]
        spread[name] = [float(d.quantile(q)) for d in apart for q in (0.05, 0.5)]
    return {
        "kinds": list(KINDS),
        "real clips read right": share(judge.read([read(f) for f in held]), [f.parent.name for f in held]),
        "read as asked": share(judge.read(waves), [names[i] for i in asked.tolist()]),
        "takes apart: made at 5 % and 50 %, real likewise": spread,
        "seconds per second, all": taken / lasting, "steps": loaded.card["steps"],
    }  # fmt: skip


def main() -> None:
    """Train, make, listen, and print one JSON object."""
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=("digits", "pairs", "effects"))
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--family", default="")
    parser.add_argument("--model", default="")
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--runs", default="bench-runs")
    parser.add_argument("-o", action="append", default=[], dest="options")
    args = parser.parse_args()
    if args.case != "effects" and not args.data:
        parser.error("name the folder of the data")
    print(json.dumps({"digits": digits, "pairs": pairs, "effects": effects}[args.case](args), indent=1))


def _there_and_back(loaded: Loaded, folder: Path, ears: dict[str, tuple[Judge, float]]) -> dict[str, float]:
    """What the judges read in real test clips that went through the grid and back."""
    files = [f for f in sorted(folder.glob("*.wav")) if parts(f)[2] < 5]
    contents = [as_integers(resampled(read(f), 8000, 24000)) for f in files]
    media = loaded.codec.decode(loaded.codec.encode(contents, loaded.recipe.target), loaded.recipe.target)
    waves = [at_rate(as_floats(thing.content), loaded.codec.rate) for thing in media]
    return {key: share(ears[key][0].read(waves), [parts(f)[k] for f in files]) for k, key in enumerate(("digit", "speaker"))}


if __name__ == "__main__":
    main()
