"""Whether altered items may teach too: only where a classifier cannot tell them from the real ones.

The codec says how an item can be altered (a picture: mirrored, a tune: transposed), and whether that is ``certain`` to leave
it as good as real; else the train split is asked in a forced choice whether it shows. Digits, letters and shoes fail, flowers
pass. The answer is a function of the data alone, so it is kept in the cache, and frozen in the recipe. It is not asked where
there is enough data without it, nor under captions: whether "left" still holds is nothing that pictures alone can show.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mintage.core.config import from_json, to_json
from mintage.core.errors import StoreError
from mintage.core.protocols import Codec
from mintage.core.spec import Recipe, Spec
from mintage.core.store import read_json, write_json
from mintage.core.words import say
from mintage.nn.forced import PAIRS, told
from mintage.nn.noise import Noise
from mintage.verbs.dataset import Dataset
from mintage.verbs.inspect import cache_folder
from mintage.verbs.judging import sampled
from mintage.verbs.load import build_codec

ENOUGH = 5_000  # training items from which nothing is altered
FEWEST = 20  # pairs without which nothing can be said
TRIES = 4  # to alter an item, as half of them may come back as they were
LIMIT = 0.62  # the interval of "the real one was found" must end below; one half is chance


@dataclass(frozen=True)
class Answer:
    """How often the real one of a pair was found, with its 95 % interval, and how many pairs were shown."""

    share: float = 0.0
    low: float = 0.0
    high: float = 1.0
    pairs: int = 0

    @property
    def passes(self) -> bool:
        """Whether the altered items are as good as real."""
        return self.pairs >= FEWEST and self.high < LIMIT

    def __str__(self) -> str:
        numbers: dict[str, Any] = {"share": round(100 * self.share), "low": round(100 * self.low), "high": round(100 * self.high)}
        if self.passes:
            return say(
                "Altered copies teach too: a classifier finds the real one of a pair in {share} % ({low}–{high}; 50 is chance).",
                **numbers,
            )
        return say(
            "No augmentation: a classifier finds the real one of a pair in {share} % ({low}–{high}; 50 is chance).", **numbers
        )


def altered(codec: Codec, x: Tensor, spec: Spec, noise: Noise) -> tuple[Tensor, Tensor]:
    """Altered twins [N, ...], and which of them differ from the original [N]."""
    found, done = x, torch.zeros(len(x), dtype=torch.bool)
    for k in range(TRIES):
        fresh = codec.augment(x, spec, noise.fork(k))
        new = (fresh != x).flatten(1).any(1) & ~done
        found = torch.where(new.view(-1, *[1] * (x.ndim - 1)), fresh, found)
        done |= new
    return found, done


def ask(recipe: Recipe, dataset: Dataset) -> Answer:
    """The answer for this data at this size, from the cache where it was asked before."""
    text = f"{recipe.data_hash} {to_json(recipe.target)} {recipe.cond.keys()}"
    path = cache_folder() / "augment" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
    with suppress(StoreError):
        return from_json(Answer, read_json(path))
    noise = Noise("augment", recipe.data_hash)
    x, given = sampled(dataset, "train", 2 * PAIRS)
    twins, differ = altered(build_codec(recipe), x, recipe.target, noise.fork("alter"))
    answer = Answer(pairs=int(differ.sum()))
    if answer.pairs >= FEWEST:
        labels = given["class"][differ] if "class" in given else None
        answer = Answer(*told(x[differ], twins[differ], labels, noise), pairs=min(PAIRS, answer.pairs))
    with suppress(StoreError):
        write_json(path, to_json(answer))
    return answer


def decide(recipe: Recipe, dataset: Dataset) -> tuple[str, Answer | None]:
    """``yes`` or ``no``, and the answer where it was asked for."""
    wish = str(recipe.training.get("augment", "no"))
    if wish != "auto":
        return wish, None
    if "caption" in recipe.cond:
        return "no", None
    if getattr(build_codec(recipe), "certain", False):
        return "yes", None
    if recipe.target.kind != "grid" or len(dataset) > ENOUGH:
        return "no", None
    answer = ask(recipe, dataset)
    return ("yes" if answer.passes else "no"), answer
