"""Does starting from another model help? Both ways for the same minutes, on a share of new data, judged on the rest.

    python benchmarks/finetune.py tinyshakespeare/input.txt captions.en --family gpt --minutes 1 --base-minutes 3
    python benchmarks/finetune.py fashion/images digits/ --family flow

The base is trained on BASE; then DATA's first share (lines of a text, pictures of each class folder) is trained on from
scratch and from the base, ``--seeds`` times each. Both are judged by ``evaluate`` on the same held-out rest. It helped if
the difference is beyond the joint 95 % interval; else the line says no gain.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from mintage.core.spec import Score
from mintage.verbs.evaluate import Report, beats, evaluate
from mintage.verbs.plan import Wish
from mintage.verbs.train import train

TESTED = 2_000  # pictures (20,000 lines) that judge at most
READ = ("nats per character", "kernel distance", "two-sample accuracy", "recall", "read as asked")


def divided(data: Path, share: float, folder: Path) -> Path:
    """``share`` of the data as the train split and the rest as test."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if data.is_file():
        lines = [line for line in data.read_text(encoding="utf-8").split("\n") if line.strip()]
        cut = round(share * len(lines))
        parts = {"train": lines[: cut - cut // 10], "valid": lines[cut - cut // 10 : cut], "test": lines[cut : cut + 10 * TESTED]}
        for split, part in parts.items():
            (folder / f"{split}.txt").write_text("\n".join(part), encoding="utf-8")
        return folder
    kinds = [path for path in sorted(data.iterdir()) if path.is_dir()]
    for kind in kinds:
        pictures = sorted(path for path in kind.iterdir() if path.is_file())
        cut = max(1, round(share * len(pictures)))
        for split, chosen in (("train", pictures[:cut]), ("test", pictures[cut : cut + TESTED // len(kinds)])):
            (folder / split / kind.name).mkdir(parents=True, exist_ok=True)
            for path in chosen:
                shutil.copy(path, folder / split / kind.name)
    return folder


def scores(report: Report) -> dict[str, Score]:
    """The numbers that are compared."""
    return {name: line.made for name in READ if (line := report.line(name)) is not None}


def main() -> None:
    """Run both ways and print one JSON line a score."""
    parser = argparse.ArgumentParser()
    parser.add_argument("base")
    parser.add_argument("data")
    parser.add_argument("--family", default="")
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--base-minutes", type=float, default=3.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--runs", default="bench-runs")
    parser.add_argument("-o", action="append", default=[])
    args = parser.parse_args()
    runs, data = args.runs, str(divided(Path(args.data), args.share, Path(args.runs) / "divided" / Path(args.data).stem))
    base = train(Wish(args.base, args.family, minutes=args.base_minutes, name="base", options=tuple(args.o)), runs)
    for seed in range(args.seeds):
        found = {}
        for name, parent in (("scratch", ""), ("from base", str(base.run))):
            # from scratch the family chooses its own sizes for these minutes
            wish = Wish(data, base.recipe.family, minutes=args.minutes, seed=seed, name=f"{name.replace(' ', '-')}-{seed}",
                        parent=parent)  # fmt: skip
            found[name] = scores(evaluate(str(train(wish, runs).run)))
        for name, score in found["from base"].items():
            other = found["scratch"].get(name)
            if other is None or score.better == "none":
                continue
            said = {1: "it helps", 0: "no gain", -1: "it harms"}[beats(score, other)]
            row = {key: [round(s.value, 4), round(s.low, 4), round(s.high, 4)] for key, s in (("scratch", other), ("from", score))}
            print(json.dumps({"seed": seed, "score": name, **row, "better": score.better, "verdict": said}))


if __name__ == "__main__":
    main()
