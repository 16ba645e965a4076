"""A model that writes from left to right around any causal network: conditions, loss, likelihood, counts, sampling.

What gpt and rnn share. Class and caption are added to every position's embedding, and make tokens likelier or less likely by
themselves: a word that decides a rare token, such as a tempo, is learned so ten times sooner. Where nothing conditions the
text, counts are mixed into the network's answer (``nn.counts``). It does not know what kind of network it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mintage.core.spec import Batch, Cond, Phase, Spec, Specs
from mintage.nn import decode
from mintage.nn.conditioned import Conditioned, Network, Told
from mintage.nn.counts import Counts
from mintage.nn.decode import Guided, Leaning, Reader
from mintage.nn.noise import Noise

NUCLEUS = 0.9  # by class or caption: what guidance blows up in the tail is cut


@dataclass(frozen=True)
class Knobs(decode.Knobs):
    """How to draw.

    Attributes:
        top_p: Only the likeliest that together hold this share; by class or caption 0.9 unless another is asked for.
        guidance: How far to go from what is said without a class or caption to what is said with it; 1 is the plain answer.
    """

    guidance: float = 2.0


class Writer(Conditioned, ABC):
    """p(next id | ids so far, class, caption)."""

    chunk = 1  # rows decoded at once: reading the weights is the cost, and one stream alone is the quickest to a person
    phases: tuple[Phase, ...] = (Phase("tokens"),)

    def __init__(self, target: Spec, cond: Specs, net: Network, dropout: float, counts: bool) -> None:
        """`dropout` silences that share of channels in training; `counts` are mixed in where nothing conditions the text."""
        super().__init__(cond, net, dropout)
        self.target, self.context = target, target.shape[0]
        self.leaning = Told(cond, target.vocab, 0.0)
        self.counts = Counts() if counts and not ({"class", "caption"} & set(cond)) else None

    def settle(self, batches: Iterable[Batch]) -> None:
        """Count the train split's n-grams; called once, before the first step."""
        if self.counts is not None:
            self.counts.fit(batches, self.target.vocab)

    def calibrate(self, train: Iterable[Batch], held: Iterable[Batch]) -> None:
        """Choose the counts' share of the mixture on held-out batches; called once, with the averaged weights."""
        if self.counts is None or self.counts.model is None:
            return
        own, counted = [], []
        with torch.no_grad():
            for batch in held:
                real = self._real(batch.x, batch.length)
                own.append(self.network_log_prob(batch.x, batch.cond)[real])
                counted.append(self.counts.model.token_log_prob(batch.x)[real])
        self.counts.tune(torch.cat(own), torch.cat(counted))

    @abstractmethod
    def reader(self, given: Tensor | None, cached: bool) -> Reader:
        """What reads one text as it grows, under a condition [1, W]; without `cached` all is computed again at every token."""

    @staticmethod
    def _real(x: Tensor, length: Tensor) -> Tensor:
        """Which of the tokens after the first count. [B, T - 1]"""
        return torch.arange(1, x.shape[1], device=x.device) < length.to(x.device)[:, None]

    def logits(self, ids: Tensor, cond: Cond, noise: Noise | None = None) -> Tensor:
        """What follows each of the ids [B, T] under a condition; `noise` only in training. [B, T, V]"""
        drops = self.drops(len(ids), noise) if noise is not None else None
        logits, lean = self.net(ids, self.given(cond, len(ids), noise), drops=drops), self.leaning(cond, len(ids), noise)
        return logits if lean is None else logits + lean

    def loss(self, batch: Batch, phase: Phase, progress: float, noise: Noise) -> dict[str, Tensor]:
        """Mean nats a token of each example, by the network alone."""
        x = batch.x
        logits = self.logits(x[:, :-1], batch.cond, noise)
        nats = F.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten(), reduction="none").view(len(x), -1)
        real = self._real(x, batch.length)
        return {"nats": (nats * real).sum(1) / real.sum(1).clamp(min=1)}

    def network_log_prob(self, x: Tensor, cond: Cond) -> Tensor:
        """The same as `token_log_prob`, by the network alone."""
        logits = self.logits(x[:, :-1], cond)
        return -F.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten(), reduction="none").view(len(x), -1)

    def token_log_prob(self, x: Tensor, cond: Cond) -> Tensor:
        """Log probability in nats of each token but the first. [B, T] -> [B, T - 1]; T at most the context."""
        own = self.network_log_prob(x, cond)
        return own if self.counts is None else self.counts.mix(own, x)

    def log_prob(self, batch: Batch) -> Tensor:
        """Log probability in nats of each row's real tokens after its first. [B]"""
        return (self.token_log_prob(batch.x, batch.cond) * self._real(batch.x, batch.length)).sum(1)

    def sample(self, cond: Cond, noise: Noise, knobs: Mapping[str, Any]) -> Iterator[Tensor]:
        """Ids as they grow [B, t], the prompt first; the last is final, PAD after the end."""
        asked = bool({"class", "caption"} & set(cond))
        own = Knobs.of({"top_p": NUCLEUS, **knobs} if asked else knobs, self.context)
        told, free = ((self.given(of, rows), self.leaning(of, rows)) for of, rows in ((cond, noise.rows), ({}, 1)))

        def under(given: Tensor | None, lean: Tensor | None, row: int) -> Reader:
            own_reader = self.reader(None if given is None else given[row], own.cache)
            return own_reader if lean is None else Leaning(own_reader, lean[row].detach().cpu().numpy())

        def reader(row: int) -> Reader:
            alone = under(*told, row)
            if own.guidance != 1 and asked:
                alone = Guided(alone, under(*free, 0), own.guidance)
            return alone if self.counts is None else self.counts.mixed(alone)

        yield from decode.decode(reader, noise.fork("tokens"), own, cond.get("prompt"))
