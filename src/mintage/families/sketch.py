"""The model that fits in seconds: components for grids, n-grams for tokens, a copula for rows. What a network must beat.

Grids: ``nn.components``, by class where there are classes, on a random draw of the training items. Tokens:
``nn.ngram``, order and smoothing chosen on the last tenth. Columns: ``nn.copula``. Captions are not looked at, and
classes of texts and rows neither: there the sketch answers as if nothing was asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mintage.core.spec import PAD, Batch, Cond, Phase, Spec, Specs
from mintage.nn.components import Components
from mintage.nn.copula import Copula
from mintage.nn.counts import Counting
from mintage.nn.decode import Knobs as Drawing
from mintage.nn.decode import decode
from mintage.nn.ngram import Ngram
from mintage.nn.noise import Noise
from mintage.nn.settled import Settled

NUMBERS = 60_000_000  # of grids that are kept: long clips fill memory sooner than ``items`` of them
PIECE = 512  # tokens; longer documents are cut, so that one long text too has a tenth to choose on


@dataclass(frozen=True)
class Config:
    """What a person may set.

    Attributes:
        items: Training items of grids looked at, fewer where they are large; more change little.
        components: Principal components at most.
        tokens: Training tokens looked at.
        order: Longest n-gram tried.
    """

    items: int = 2_000
    components: int = 96
    tokens: int = 4_000_000
    order: int = 8


@dataclass(frozen=True)
class Knobs:
    """How to draw texts.

    Attributes:
        temperature: Sharpness; 0 always takes the likeliest.
        length: Most new tokens; 0 takes the length of an example.
    """

    temperature: float = 1.0
    length: int = 0


class Model(Settled):
    """Closed form: no phases, only ``settle``."""

    phases: tuple[Phase, ...] = ()

    def __init__(self, target: Spec, cond: Specs, config: Config) -> None:
        """``cond`` may hold a ``class``; the rest is not looked at."""
        super().__init__()
        self.target, self.config = target, config
        self.groups = cond["class"].vocab if "class" in cond else 1
        self.components = Components(self.groups, config.components)
        self._ngram: Ngram | None = None
        self.copula = Copula(target.slots) if target.slots else None
        if target.kind == "tokens" and not target.slots:  # only then is it one of ``Scores``
            self.log_prob = self._log_prob

    @staticmethod
    def refuse(target: Spec, cond: Specs) -> str | None:
        """There is a sketch of everything."""
        return None

    def loss(self, batch: Batch, phase: Phase, progress: float, noise: Noise) -> dict[str, Tensor]:
        """Nothing is trained by steps."""
        raise NotImplementedError("The sketch is settled, not trained.")

    def settle(self, batches: Iterable[Batch]) -> None:
        """Fit on one pass over the train split."""
        if self.copula is not None:
            self.copula.settle(torch.cat([batch.x for batch in batches]))
        elif self.target.kind == "tokens":
            self._settle_tokens(batches)
        else:
            self._settle_grids(batches)

    def _settle_grids(self, batches: Iterable[Batch]) -> None:
        most = max(1, min(self.config.items, NUMBERS // math.prod(self.target.shape)))
        noise, kept, group, keys = Noise("sketch"), torch.empty(0), torch.empty(0, dtype=torch.int64), torch.empty(0)
        for batch in batches:
            x = batch.x.flatten(1)
            keys = torch.cat([keys, noise.uniform((len(x),))])
            kept = torch.cat([kept, x]) if len(kept) else x
            group = torch.cat([group, self._group(batch.cond, len(x))])
            best = keys.topk(min(len(keys), most)).indices  # a uniform draw without knowing how many come
            kept, group, keys = kept[best], group[best], keys[best]
        self.components.settle(kept, group)

    def _settle_tokens(self, batches: Iterable[Batch]) -> None:
        pieces: list[Tensor] = []
        documents, tokens = 0, 0
        for batch in batches:
            for row, length in zip(batch.x, batch.length.tolist(), strict=True):
                pieces += [row[i : min(length, i + PIECE + 1)] for i in range(0, max(1, length - 1), PIECE)]
                documents, tokens = documents + 1, tokens + length
            if tokens >= self.config.tokens:
                break
        if documents > 1:  # documents may come sorted; a single text keeps its order, and its end chooses
            pieces = [pieces[i] for i in Noise("sketch").permutation(len(pieces)).tolist()]
        length = torch.tensor([len(piece) for piece in pieces])
        x = torch.nn.utils.rnn.pad_sequence(pieces, batch_first=True, padding_value=PAD).long()
        self._ngram = Ngram(self.target.vocab)
        self._ngram.fit(x, length, self.config.order)
        self.keep(**self._ngram.state())

    @property
    def ngram(self) -> Ngram:
        """The n-gram model, rebuilt from the buffers after loading."""
        if self._ngram is None:
            self._ngram = Ngram.restore(dict(self.named_buffers(recurse=False)))
        return self._ngram

    def _group(self, cond: Cond, n: int) -> Tensor:
        """Class of each row; −1 where none, or none that is known, was asked."""
        asked = cond["class"].long() if "class" in cond else torch.full((n,), 0 if self.groups == 1 else -1)
        return torch.where((asked >= 0) & (asked < self.groups), asked, -1)

    def _log_prob(self, batch: Batch) -> Tensor:
        """Log probability in nats of each text after its first token: [B]. Grids have none here."""
        return self.ngram.log_prob(batch.x, batch.length)

    def sample(self, cond: Cond, noise: Noise, knobs: Mapping[str, Any]) -> Iterator[Tensor]:
        """Grids and rows at once, [B, ...]; texts as they grow, [B, t], from ``prompt`` if there is one."""
        if self.copula is not None:
            yield self.copula.sample(noise)
        elif self.target.kind == "tokens":
            length = int(knobs.get("length") or self.target.shape[0])
            own = Drawing.of({"temperature": 1.0, **knobs}, length)
            yield from decode(lambda row: Counting(self.ngram), noise, own, cond.get("prompt"))
        else:
            x = self.components.sample(self._group(cond, noise.rows), noise)
            yield x.clamp(-1, 1).view(noise.rows, *self.target.shape)
