"""A model that writes from left to right around any causal network: conditions, loss, likelihood, counts, sampling.

What gpt and rnn share. Class and caption are added to every position's embedding; where nothing conditions the text, counts
are mixed into the network's answer (``nn.counts``). It does not know what kind of network it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mintage.core.spec import PAD, Batch, Cond, Phase, Spec, Specs
from mintage.nn.counts import Counts
from mintage.nn.decode import Knobs, Reader, decode
from mintage.nn.noise import Noise
from mintage.nn.optim import mark

NULLED = 0.1  # of the training examples lose their condition, so that its absence is known too


class Network(Protocol):
    """A causal network, a torch Module beside this protocol."""

    width: int
    masks: int  # how many masks of whole channels it takes

    def __call__(self, ids: Tensor, given: Tensor | None = None, *, drops: Tensor | None = None) -> Tensor:
        """Logits of each next id [B, T, V]; `given` [B, 1, W] joins every embedding, `drops` [masks, B, 1, W] scale channels."""


class Writer(nn.Module):
    """p(next id | ids so far, class, caption)."""

    chunk = 1  # rows decoded at once: reading the weights is the cost, and one stream alone is the quickest to a person
    phases: tuple[Phase, ...] = (Phase("tokens"),)

    def __init__(self, target: Spec, cond: Specs, net: Network, dropout: float, counts: bool) -> None:
        """`dropout` silences that share of channels in training; `counts` are mixed in where nothing conditions the text."""
        super().__init__()
        self.target, self.dropout, self.context = target, dropout, target.shape[0]
        self.net = net
        self.class_embed = nn.Embedding(cond["class"].vocab + 1, net.width) if "class" in cond else None
        self.caption_embed = nn.Embedding(cond["caption"].vocab, net.width) if "caption" in cond else None
        for table in (self.class_embed, self.caption_embed):
            if table is not None:
                nn.init.zeros_(table.weight)
                mark(table, lr=5.0)
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

    def _given(self, cond: Cond, rows: int, noise: Noise | None = None) -> Tensor | None:
        """Sum of the conditions' embeddings [B, 1, W]; with `noise` a tenth of the rows lose theirs."""
        found = []
        if self.class_embed is not None:
            null = self.class_embed.num_embeddings - 1
            ids = cond["class"] if "class" in cond else torch.full((rows,), null)
            if noise is not None:
                ids = ids.masked_fill(noise.fork("class").mask((rows,), NULLED), null)
            found.append(self.class_embed(ids))
        if self.caption_embed is not None and "caption" in cond:
            ids = cond["caption"]  # [B, L]; a bag of pieces
            real = (ids != PAD).float()
            if noise is not None:
                real = real * (~noise.fork("caption").mask((rows, 1), NULLED)).float()
            found.append((self.caption_embed(ids) * real[..., None]).sum(1) / real.sum(1, keepdim=True).clamp(min=1))
        return sum(found[1:], found[0])[:, None] if found else None

    def _drops(self, rows: int, noise: Noise) -> Tensor | None:
        """One mask a text and place in the network, the same for all its tokens (Gal & Ghahramani, 1512.05287)."""
        if not self.dropout:
            return None
        kept = ~noise.fork("dropout").mask((self.net.masks, rows, 1, self.net.width), self.dropout)
        return kept.float() / (1 - self.dropout)

    def reader(self, given: Tensor | None, cached: bool) -> Reader:
        """What reads one text as it grows, under a condition [1, W]; without `cached` all is computed again at every token."""
        raise NotImplementedError

    @staticmethod
    def _real(x: Tensor, length: Tensor) -> Tensor:
        """Which of the tokens after the first count. [B, T - 1]"""
        return torch.arange(1, x.shape[1], device=x.device) < length.to(x.device)[:, None]

    def loss(self, batch: Batch, phase: Phase, progress: float, noise: Noise) -> dict[str, Tensor]:
        """Mean nats a token of each example, by the network alone."""
        x = batch.x
        logits = self.net(x[:, :-1], self._given(batch.cond, len(x), noise), drops=self._drops(len(x), noise))
        nats = F.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten(), reduction="none").view(len(x), -1)
        real = self._real(x, batch.length)
        return {"nats": (nats * real).sum(1) / real.sum(1).clamp(min=1)}

    def network_log_prob(self, x: Tensor, cond: Cond) -> Tensor:
        """The same as `token_log_prob`, by the network alone."""
        logits = self.net(x[:, :-1], self._given(cond, len(x)))
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
        own, given = Knobs.of(knobs, self.context), self._given(cond, noise.rows)

        def reader(row: int) -> Reader:
            alone = self.reader(None if given is None else given[row], own.cache)
            return alone if self.counts is None else self.counts.mixed(alone)

        yield from decode(reader, noise.fork("tokens"), own, cond.get("prompt"))
