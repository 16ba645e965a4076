"""Gathers what the metrics may look at: made, held-out and sketch items of one run, at equal numbers and asked alike.

What is made is asked for exactly what the test items were given (classes in the same shares, the same captions), or
a difference in what was asked would be judged as a difference in quality. Drawing stops after a bounded time; what the
metrics cannot use more of is not drawn.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mintage.core.machine import Meter
from mintage.core.spec import Batch, Cond, Evidence, Recipe
from mintage.metrics.likelihood import TEXT, Passage, nats
from mintage.nn.copies import Verbatim
from mintage.nn.neighbours import Neighbours
from mintage.nn.noise import Noise
from mintage.verbs.dataset import Dataset
from mintage.verbs.generate import draw
from mintage.verbs.judging import as_judged, copies_for, features_for, sampled, texts_of
from mintage.verbs.load import Loaded, build_model

HELD = 2_000  # held-out items of either kind
MADE = {"grid": 1_000, "tokens": 256}  # made items, unless more are asked for
SECONDS = 10.0  # of drawing, for the model and for the sketch
TRAIN = 2_000  # training items beside captions
SCORED = 40_000  # held-out tokens read for the likelihood
BLOCK = 2  # windows in one passage
ROWS = 32  # drawn at once; what is judged need not be what the same seed gives alone


@dataclass(frozen=True)
class Point:
    """The learning curve at ``n`` training items (texts: tokens): lower is better."""

    n: int
    value: float
    unit: str = "items"


@dataclass(frozen=True)
class Cost:
    """What making one item takes."""

    seconds: float
    watt_hours: float
    how: str


def repeat(cond: Cond, n: int) -> dict[str, Tensor]:
    """Conditions for n items: those of the rows there are, again and again."""
    return {name: values[torch.arange(n) % len(values)] for name, values in cond.items() if len(values)}


class Bench:
    """One run on the bench: ``made``, ``floor`` and ``sketch`` are the three that every metric is asked about."""

    def __init__(
        self, loaded: Loaded, recipe: Recipe, dataset: Dataset, n: int | None, seed: int, seconds: float = SECONDS
    ) -> None:
        """``recipe`` is the run's own, with the whole path of its data; drawing takes about ``seconds`` at most."""
        self.loaded = replace(loaded, chunk=max(ROWS, loaded.chunk))
        self.recipe, self.seed, self.seconds = recipe, seed, seconds
        self.dataset = dataset = as_judged(dataset)
        self.tokens, self.rows = recipe.target.kind == "tokens", bool(recipe.target.slots)
        self.noise = Noise("evaluate", seed)
        self.test, self.given = sampled(dataset, "test", HELD)
        self.holdout, self.held_given = sampled(dataset, "holdout", HELD)
        self.held = len(self.test) + len(self.holdout)
        self.files = {split: part.files for split, part in dataset.parts.items()}
        self.features = features_for(loaded.run, dataset, recipe)
        parts = dataset.parts["train"]
        self.items = max(len(parts), dataset.tokens // dataset.target.shape[0] if self.tokens else 0)
        self.want = n or max(MADE[recipe.target.kind], min(HELD, len(self.test)))

    def _drawn(self, sketch: bool) -> tuple[Tensor, Cond, Cost]:
        """Items of the model or the sketch: as many as wanted, or as ``SECONDS`` allow."""
        asked, chunk = repeat(self.given, self.want), self.loaded.chunk
        window = self.dataset.target.shape[0] if self.tokens else 0
        knobs = {"length": window} if self.tokens else {}
        parts: list[Tensor] = []
        meter, begin = Meter(), time.perf_counter()
        while (done := sum(map(len, parts))) < self.want and (not parts or time.perf_counter() - begin < self.seconds):
            rows = slice(done, min(done + chunk, self.want))
            cond = {name: values[rows] for name, values in asked.items()}
            parts.append(draw(self.loaded, rows.stop - done, self.seed + done, cond, sketch, knobs)[:, : window or None])
        seconds, (energy, how) = time.perf_counter() - begin, meter.read()
        width = max(part.shape[1] for part in parts)
        x = torch.cat([torch.nn.functional.pad(p, (0, width - p.shape[1])) if self.tokens else p for p in parts])
        cost = Cost(seconds / len(x), energy / len(x), how)
        return x, {name: values[: len(x)] for name, values in asked.items()}, cost

    @cached_property
    def drawn(self) -> tuple[Tensor, Cond, Cost]:
        """What the model made, what it was asked for, and what one item costs."""
        return self._drawn(sketch=False)

    def cut(self, n: int) -> None:
        """Keep the first n that were made, so that several models are judged on equally many."""
        x, asked, cost = self.drawn
        self.drawn = x[:n], {name: values[:n] for name, values in asked.items()}, cost
        self.want = n

    @cached_property
    def made(self) -> Evidence:
        """The model on trial."""
        x, asked, _ = self.drawn
        return self._evidence(x, asked, None if self.recipe.first else self.loaded.model)  # two stages score codes, not items

    @cached_property
    def floor(self) -> Evidence | None:
        """Held-out real items in the place of made ones."""
        return self._evidence(self.holdout, self.held_given, None) if len(self.holdout) else None

    @cached_property
    def sketch(self) -> Evidence:
        """The baseline in the place of the model."""
        x, asked, _ = self._drawn(sketch=True)
        return self._evidence(x, asked, self.loaded.sketch)

    @cached_property
    def _shared(self) -> Evidence:
        """Everything but what is judged."""
        train, given = sampled(self.dataset, "train", TRAIN)
        extra: dict[str, Any] = {"codec": self.loaded.codec}
        extra |= {"captions": given["caption"]} if "caption" in given else {}
        if self.rows:
            extra |= {"rows": self.dataset.split("train"), "sketch": self.loaded.sketch}
        elif self.tokens:
            texts = texts_of(self.dataset, self.loaded.codec, "train")
            extra["texts"] = {"train": texts, "test": self.spelled(self.test)}
            extra |= {"copies": Verbatim(texts), "passages": self.passages(), "sketch": self.loaded.sketch}
        else:
            extra |= {"copies": copies_for(self.loaded.run, self.dataset), "given": self.given}
        labels = {split: self.dataset.labels(split) for split in ("train", "holdout", "test")}
        real = (train, self.holdout, self.test)
        return Evidence(self.recipe.target, train[:0], {}, *real, labels, self.features, None, self.noise, extra)

    def _evidence(self, made: Tensor, asked: Cond, model: Any) -> Evidence:
        extra = dict(self._shared.extra)
        if self.tokens and not self.rows:
            extra["texts"] = {**extra["texts"], "made": self.spelled(made)}
        n = len(self.test) if not len(self.holdout) else min(len(self.test), len(self.holdout))
        return replace(self._shared, made=made, asked=asked, test=self.test[:n], model=model, extra=extra)

    def spelled(self, x: Tensor) -> list[str]:
        """Ids [N, T] as strings in which copies are searched: texts as they are."""
        return self.loaded.codec.passages(x, self.recipe.target)

    def passages(self) -> list[Passage]:
        """Held-out tokens in passages with half a context of lead, evenly spread if there is too much of it.

        Where they lie does not depend on the model; how much it may read before them does, as its context is its own.
        """
        context, block = self.recipe.target.size("token"), BLOCK * self.dataset.target.size("token")
        part, found = self.dataset.parts["test"], []
        for i, ids in enumerate(self.dataset.documents("test")):
            whole = torch.from_numpy(ids.astype(np.int64))
            for start in range(0, len(whole), block):
                found.append((i, whole, start))
        every = max(1, -(-sum(len(d) for d in self.dataset.documents("test")) // SCORED))
        passages = []
        for i, whole, start in found[::every]:
            lead, stop = min(start, context // 2), start + block
            said, own = self.spelled(whole[None, start:stop])[0], whole[start:stop]
            sizes = (len(said), len(said.encode())) if self.recipe.target.channels == TEXT else (len(own), len(said))
            cond = {name: values[i : i + 1] for name, values in part.given.items()}
            passages.append(Passage(whole[start - lead : stop], lead, *sizes, cond))
        return [p for p in passages if p.characters and p.bytes]

    def curve(self) -> list[Point]:
        """The learning curve at a quarter, a half and all of the training items; empty with too few."""
        n = len(self.dataset.parts["train"])
        if self.tokens and not self.rows:
            return self._text_curve()
        if n < 40 or len(self.test) < 10:
            return []
        train, test = self.features(sampled(self.dataset, "train", 8_000)[0]), self.features(self.test)
        sizes = [len(train) // 4, len(train) // 2, len(train)]
        return [Point(m, float(Neighbours(train[:m]).search(test, 1)[0].mean())) for m in sizes]

    def _text_curve(self) -> list[Point]:
        """Nats per character or token of the n-gram sketch fitted on the first quarter, half and all of the training tokens."""
        passages = self._shared.extra["passages"]
        total, points = self.dataset.tokens, []
        if total < 4_000 or not passages:
            return []
        characters = sum(p.characters for p in passages)
        for wanted in (total // 4, total // 2, total):
            sketch = self.loaded.sketch
            if wanted < total:
                sketch = build_model(self.recipe, "sketch")
                sketch.settle(_first(self.dataset.settling(), wanted))
            lost = nats(sketch, passages, self.recipe.target.size("token"))
            points.append(Point(wanted, float(lost.sum()) / characters, "tokens"))
        return points


def _first(batches: Any, tokens: int) -> Any:
    """The first tokens of documents that come one a batch."""
    for batch in batches:
        length = min(int(batch.length[0]), tokens)
        if length < 2:
            return
        yield Batch(batch.x[:, :length], batch.cond, batch.weight, torch.tensor([length]))
        tokens -= length
