"""Codes of sentences: how much comes back, what lies between two of them, and what is drawn where there was none.

    python benchmarks/sentences.py MULTI30K_FOLDER --minutes 4          # trains, then judges
    python benchmarks/sentences.py MULTI30K_FOLDER --run RUN            # judges a run there is

The generator sees the English side of ``train.tsv`` alone; all numbers are on ``test_2016_flickr.tsv``. A word counts as
come back only where it stands at the same place among the words; LCS is the longest common subsequence of words. Codes
are the posterior's means and every word is the likeliest, except in the row of drawn codes. ``page.txt`` beside the run is to
be read: numbers do not say what reads as a sentence.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from mintage.families.vae import divergence
from mintage.nn.noise import Noise
from mintage.verbs.generate import draw
from mintage.verbs.load import Loaded, load
from mintage.verbs.plan import Wish
from mintage.verbs.train import train

SHOWN, DRAWN = 12, 200
BETWEEN = (0.0, 0.25, 0.5, 0.75, 1.0)


def english(folder: Path, name: str) -> list[str]:
    """The first column of a file of pairs."""
    return [line.split("\t")[0] for line in (folder / f"{name}.tsv").read_text("utf-8").splitlines()]


def common(a: list[str], b: list[str]) -> int:
    """Length of the longest common subsequence."""
    best = [0] * (len(b) + 1)
    for x in a:
        before = 0
        for j, y in enumerate(b):
            before, best[j + 1] = best[j + 1], before + 1 if x == y else max(best[j + 1], best[j])
    return best[-1]


def texts(loaded: Loaded, ids: torch.Tensor) -> list[str]:
    """Ids as texts."""
    return [str(media.content) for media in loaded.codec.decode(ids, loaded.recipe.target)]


def said(loaded: Loaded, code: torch.Tensor) -> list[str]:
    """The likeliest texts of codes [N, K, 1, 1], some at a time."""
    return [text for part in code.split(50) for text in texts(loaded, loaded.model.decode(part))]


def back(real: list[str], made: list[str]) -> dict[str, float]:
    """Shares of the words of ``real`` that came back."""
    pairs = [(a.split(), b.split()) for a, b in zip(real, made, strict=True)]
    n = sum(len(a) for a, _ in pairs)
    return {
        "at the same place": sum(x == y for a, b in pairs for x, y in zip(a, b, strict=False)) / n,
        "longest common subsequence": sum(common(a, b) for a, b in pairs) / n,
        "whole sentences": sum(a == b for a, b in pairs) / len(pairs),
    }


@torch.inference_mode()
def judge(loaded: Loaded, held: list[str], trained: list[str], page: Path) -> dict[str, object]:
    """All numbers, and the page to read."""
    model, span = loaded.model, loaded.recipe.target.shape[0]
    x = loaded.codec.encode(held, loaded.recipe.target.at(token=0)).long()
    whole = (x != 0).sum(1) <= span
    x, held = x[whole][:, :span], [text for text, kept in zip(held, whole.tolist(), strict=True) if kept]
    mean, logvar = (torch.cat(part) for part in zip(*(model.net.encode(rows, {}) for rows in x.split(100)), strict=True))
    code = torch.cat([model.encode(rows) for rows in x.split(100)])
    drawn = (mean + (0.5 * logvar).exp() * Noise("judge").normal(mean.shape) - model.scale.mean) / model.scale.deviation
    again = said(loaded, code)
    pairs = torch.arange(len(code) // 2)
    first, last = code[2 * pairs], code[2 * pairs + 1]
    middle = said(loaded, (first + last) / 2)
    vocabulary = {word.strip(",.").lower() for text in trained for word in text.split()}
    fresh = texts(loaded, draw(loaded, DRAWN, seed=1))
    steps = [said(loaded, first[:SHOWN] * (1 - t) + last[:SHOWN] * t) for t in BETWEEN]
    lines = ["THERE AND BACK", *(f"> {a}\n< {b}" for a, b in zip(held[:SHOWN], again, strict=False))]
    lines += ["", "BETWEEN", *("\n".join(row) + "\n" for row in zip(*steps, strict=True)), "DRAWN", *fresh[: 3 * SHOWN]]
    page.write_text("\n".join(lines) + "\n", "utf-8")

    def known(made: list[str]) -> float:
        words = [word.strip(",.").lower() for text in made for word in text.split()]
        return sum(word in vocabulary for word in words) / max(1, len(words))

    return {
        "sentences": len(held),
        "KL to the standard normal, nats": float(divergence(mean, logvar).sum(1).mean()),
        "words that come back": back(held, again),
        "the same from drawn codes": back(held, said(loaded, drawn.view_as(code))),
        "words of another sentence's code": back(held, again[1:] + again[:1])["at the same place"],
        "midpoints that are neither end": sum(
            m not in (again[2 * k], again[2 * k + 1]) for k, m in enumerate(middle)
        ) / len(middle),
        "words of midpoints known from training": known(middle),
        "words of drawn sentences known from training": known(fresh),
        "words of held-out sentences known from training": known(held),
        "different among those drawn": len(set(fresh)) / len(fresh),
        "drawn that stand in training": sum(text in set(trained) for text in fresh) / len(fresh),
    }  # fmt: skip


def main() -> None:
    """Train if no run is named, judge, print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--run", default="")
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("-o", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--runs", type=Path, default=Path("bench-runs"))
    args = parser.parse_args()
    trained = english(args.data, "train")
    run = args.run
    if not run:
        args.runs.mkdir(parents=True, exist_ok=True)
        data = args.runs / "sentences.jsonl"
        data.write_text("".join(json.dumps({"text": text}) + "\n" for text in trained), "utf-8")
        wish = Wish(str(data), "vae", minutes=args.minutes, name=f"sentences-{args.minutes:g}", options=tuple(args.o))
        run = str(train(wish, runs=str(args.runs)).run)
    loaded = load(run)
    seen = set(trained)
    held = [text for text in english(args.data, "test_2016_flickr") if text not in seen]
    print(json.dumps(judge(loaded, held, trained, loaded.run.path / "page.txt"), indent=1))


if __name__ == "__main__":
    main()
