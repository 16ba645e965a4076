"""Decoding token by token from a causal network: temperature, top-k, nucleus, stop sequences, streaming.

The nucleus is that of Holtzman et al., 1904.09751. When the context is full it starts again from its newer half, exactly as
held-out text is scored, so the model never sees a distance that it was not trained on. Every row draws from its own noise.
Speculative decoding and beams are not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mintage.core.spec import BOS, EOS, MASK, PAD, SEP
from mintage.nn.counts import Counts
from mintage.nn.noise import Noise
from mintage.nn.stream import Stream
from mintage.nn.transformer import Cache, Decoder

Read = Callable[[Tensor], Tensor]  # ids [B, t] after those read before -> logits of the next one [B, V]


@dataclass(frozen=True)
class Knobs:
    """How to draw.

    Attributes:
        temperature: Sharpness; 0 always takes the likeliest.
        top_k: Only the k likeliest; 0 for all.
        top_p: Only the likeliest that together hold this share.
        length: Most new tokens.
        stop: Token sequences that end a row; they are kept.
        forbid: Ids never drawn.
        every: Tokens between two previews.
        cache: False recomputes the whole context at every token: slow, the same text.
    """

    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 1.0
    length: int = 256
    stop: tuple[tuple[int, ...], ...] = ()
    forbid: tuple[int, ...] = (PAD, BOS, SEP, MASK)
    every: int = 16
    cache: bool = True

    @classmethod
    def of(cls, knobs: Mapping[str, Any], length: int) -> Knobs:
        """Read a request; `length` where none is asked. A stop may be one id or a sequence of ids."""
        own = {k: v for k, v in knobs.items() if k in cls.__dataclass_fields__ and v is not None}
        own["length"] = int(own.get("length") or length)
        own["stop"] = tuple((s,) if isinstance(s, int) else tuple(s) for s in own.get("stop", ()))
        own["forbid"] = (*cls.forbid, *own.get("forbid", ()))
        return cls(**own)


def narrow(logits: Tensor, knobs: Knobs) -> Tensor:
    """Logits [B, V] after temperature, top-k and nucleus; what is cut is -inf."""
    logits = logits / max(knobs.temperature, 1e-4)
    if 0 < knobs.top_k < logits.shape[-1]:
        logits = logits.masked_fill(logits < logits.topk(knobs.top_k).values[:, -1:], float("-inf"))
    if knobs.top_p < 1:
        order = logits.sort(descending=True)
        before = order.values.softmax(-1).cumsum(-1) - order.values.softmax(-1)
        logits = logits.masked_fill(
            torch.zeros_like(before > 0).scatter(1, order.indices, before >= max(knobs.top_p, 1e-9)), float("-inf")
        )
    return logits


class Window:
    """Reads tokens with a Transformer, and when its context is full goes on from the newer half of it."""

    def __init__(self, decoder: Decoder, given: Tensor | None, rows: int, cached: bool) -> None:
        self.decoder, self.given = decoder, given
        self.recent = torch.empty(rows, 0, dtype=torch.int64)  # the tokens in the context
        self.cache: Cache | None = decoder.cache(rows) if cached else None
        alone = self.cache is not None and rows == 1 and decoder.head.device.type == "cpu"
        self.stream = Stream(decoder, given, self.cache) if alone and self.cache else None

    def __call__(self, ids: Tensor) -> Tensor:
        """Logits after reading `ids` [B, t], t >= 1. [B, V]"""
        context = self.decoder.context - 1  # the place after that was never trained
        logits = torch.empty(0)
        while ids.shape[1]:
            if self.recent.shape[1] >= context:
                newer = self.recent[:, -(context // 2) :]
                self.recent, ids = newer[:, :0], torch.cat([newer, ids], 1)
                if self.cache:
                    self.cache.length, self.cache.last = 0, torch.full_like(self.cache.last, PAD)
            part = ids[:, : context - self.recent.shape[1]]
            self.recent, ids = torch.cat([self.recent, part], 1), ids[:, part.shape[1] :]
            if self.stream is not None and part.shape[1] == 1:
                logits = torch.from_numpy(self.stream(int(part)))[None]
            elif self.cache:
                logits = self.decoder(part, self.given, self.cache)[:, -1]
            elif not ids.shape[1]:
                logits = self.decoder(self.recent, self.given)[:, -1]
        return logits


class _Mixed:
    """Reads tokens with a network and with counts."""

    def __init__(self, read: Read, rows: int, counts: Counts | None) -> None:
        self.read, self.share = read, float(counts.share) if counts is not None else 0.0
        self.prior = counts.model if counts is not None and self.share else None
        self.states: list[list[int]] = [[0]] * rows

    def __call__(self, ids: Tensor) -> Tensor:
        """Log probabilities up to a constant after reading `ids` [B, t]. [B, V]"""
        logits = self.read(ids)
        if self.prior is None:
            return logits
        for token in ids.T.tolist():
            self.states = [self.prior.follow(state, w) for state, w in zip(self.states, token, strict=True)]
        counted = torch.from_numpy(np.stack([self.prior.following(state) for state in self.states]))
        return logits.double().softmax(-1).mul_(1 - self.share).add_(counted, alpha=self.share).log_()


def _starts(prompt: Tensor | None, rows: int) -> list[list[int]]:
    if prompt is None:
        return [[BOS]] * rows
    return [[t for t in row if t != PAD] or [BOS] for row in prompt.expand(rows, -1).tolist()]


def _ended(row: Sequence[int], stop: tuple[tuple[int, ...], ...]) -> bool:
    return any(tuple(row[-len(s) :]) == s for s in stop)


@torch.inference_mode()
def decode(read: Read, noise: Noise, knobs: Knobs, prompt: Tensor | None = None, counts: Counts | None = None) -> Iterator[Tensor]:
    """Draw one row a stream of `noise`.

    Args:
        read: The network in evaluation mode: reads ids [B, t] after those before, and tells the logits of the next [B, V].
        noise: One stream a row.
        knobs: How to draw.
        prompt: Ids to continue [B, P], PAD where shorter; the document's begin if None.
        counts: Mixed into what the network tells.

    Yields:
        Ids so far [B, P + t], the prompt first and PAD after a row's end; the last is final.
    """
    rows = noise.rows
    starts = _starts(prompt, rows)
    tell = _Mixed(read, rows, counts)
    shortest = min(map(len, starts))
    log_p = tell(torch.tensor([row[:shortest] for row in starts]))
    made: list[list[int]] = [[] for _ in range(rows)]
    done = [False] * rows
    banned = torch.zeros_like(log_p[:1])
    banned[:, list(knobs.forbid)] = float("-inf")
    left = prompt.expand(rows, -1) if prompt is not None else torch.empty(rows, 0, dtype=torch.int64)

    def so_far() -> Tensor:
        new = torch.nn.utils.rnn.pad_sequence([torch.tensor(row, dtype=torch.int64) for row in made], True, PAD)
        return torch.cat([left, new], 1)

    at = shortest
    while not all(done):
        drawn = noise.choose(narrow(log_p + banned, knobs)).tolist()
        feed = []
        for b, start in enumerate(starts):
            if at < len(start):  # still inside a longer prompt
                feed.append(start[at])
                continue
            feed.append(drawn[b])
            if not done[b]:
                made[b].append(drawn[b])
                done[b] = drawn[b] == EOS or len(made[b]) >= knobs.length or _ended(made[b], knobs.stop)
        at += 1
        if not all(done):
            log_p = tell(torch.tensor(feed)[:, None])
            if at % knobs.every == 0:
                yield so_far()
    yield so_far()
