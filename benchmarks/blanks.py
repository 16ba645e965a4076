"""Blanks in held-out texts: a masked model that sees both sides against a writer that sees the left; and what its states know.

    python benchmarks/blanks.py fill MASKED_RUN GPT_RUN     # top-1 accuracy on the same hidden characters
    python benchmarks/blanks.py probe MASKED_RUN            # class from mean states: 200 labels, a linear probe

Each blank is one random character, punctuation aside, hidden alone in a test text that fits the window; both models are told
the class they were trained with. The probe is told no class, and its rival is the same encoder before training.
"""

from __future__ import annotations

import argparse
import unicodedata
from typing import Any

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from mintage.core.spec import MASK
from mintage.nn.intervals import share
from mintage.nn.noise import Noise
from mintage.verbs.dataset import Dataset, reopen
from mintage.verbs.load import Loaded, build_model, load

BLANKS = 5  # in each text
LABELS = 200


def texts(dataset: Dataset, split: str, span: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Whole documents of a split that fit the window, with their lengths and what came with them."""
    part = dataset.parts[split]
    x, length = dataset.windows(part, torch.arange(len(part)), torch.zeros(len(part)))
    whole = torch.from_numpy(part.offsets[1:] - part.offsets[:-1]) <= span
    return x[whole], length[whole], {name: values[whole] for name, values in part.given.items()}


def sites(loaded: Loaded, x: Tensor) -> tuple[Tensor, Tensor]:
    """Random places of characters that are no punctuation: rows and columns."""
    spelled = loaded.codec.vocabulary.spelled
    names = [piece.decode("utf-8", "replace") for piece in spelled]
    letter = torch.tensor([len(name) == 1 and unicodedata.category(name)[0] == "L" for name in names])
    order = Noise("blanks").uniform(x.shape).masked_fill(~letter[x], 2.0)
    places = order.argsort(1)[:, :BLANKS]
    good = order.gather(1, places) < 1
    rows = torch.arange(len(x))[:, None].expand_as(places)
    return rows[good], places[good]


@torch.inference_mode()
def guesses(loaded: Loaded, x: Tensor, given: dict[str, Tensor], rows: Tensor, places: Tensor) -> Tensor:
    """The likeliest id at each place. [N]"""
    found = []
    for part, at in zip(rows.split(64), places.split(64), strict=True):
        text, each = x[part].clone(), torch.arange(len(part))
        cond: Any = loaded.model.given({name: values[part] for name, values in given.items()}, len(part))
        if getattr(loaded.model, "fills", False):
            text[each, at] = MASK
            logits = loaded.model.logits(loaded.model.net.states(text, cond)[each, at], text, each, at)
        else:
            logits = loaded.model.net(text[:, :-1], cond)[each, at - 1]
        found.append(logits.argmax(1))
    return torch.cat(found)


def fill(both: Loaded, left: Loaded) -> None:
    """Compare two runs on one data set."""
    dataset = reopen(both.recipe, both.codec)
    x, _, given = texts(dataset, "test", both.recipe.target.shape[0])
    x = x[:, : left.recipe.target.shape[0]]
    rows, places = sites(both, x)
    for loaded, what in ((both, "both sides"), (left, "the left")):
        right = guesses(loaded, x, given, rows, places) == x[rows, places]
        point, low, high = share(int(right.sum()), len(right))
        minutes = loaded.card["minutes"]
        print(f"{loaded.recipe.family}, {what}, {minutes:.1f} min: {point:.1%} of {len(right)} blanks ({low:.1%} to {high:.1%})")


@torch.inference_mode()
def means(model: Any, x: Tensor, length: Tensor) -> Tensor:
    """Mean state over each text's tokens, no class told. [N, W]"""
    found = []
    for part, size in zip(x.split(64), length.split(64), strict=True):
        real = (torch.arange(x.shape[1]) < size[:, None]).float()[..., None]
        states = model.net.states(part, model.given({}, len(part))).float()
        found.append((states * real).sum(1) / real.sum(1))
    return torch.cat(found)


def probe(loaded: Loaded) -> None:
    """A linear probe on the trained and on the untrained encoder."""
    dataset = reopen(loaded.recipe, loaded.codec)
    parts = [texts(dataset, split, loaded.recipe.target.shape[0]) for split in ("holdout", "test")]
    x, length = (torch.cat([part[k] for part in parts]) for k in (0, 1))
    label = torch.cat([part[2]["class"] for part in parts])
    known = label < loaded.recipe.cond["class"].vocab
    x, length, label = x[known], length[known], label[known]
    order = Noise("probe").permutation(len(x))
    taught, asked = order[:LABELS], order[LABELS:]
    for name, model in (("trained", loaded.model), ("untrained", build_model(loaded.recipe).eval())):
        features = means(model, x, length).numpy()
        line = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.1)).fit(features[taught], label[taught])
        right = int((line.predict(features[asked]) == label[asked].numpy()).sum())
        point, low, high = share(right, len(asked))
        print(f"{name} encoder: {point:.1%} of {len(asked)} texts read right ({low:.1%} to {high:.1%}), {LABELS} labels")


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["fill", "probe"])
    parser.add_argument("runs", nargs="+")
    args = parser.parse_args()
    found = [load(run) for run in args.runs]
    fill(*found) if args.what == "fill" else probe(*found)


if __name__ == "__main__":
    main()
