"""A small Transformer that writes token by token: text, tunes, codes; by class or caption, from a prompt, streaming.

The network is `nn.transformer`, trained on the next token (Radford et al. 2018) by Muon and AdamW. Where nothing conditions the
text, the answer mixes in an n-gram model of the training part with one constant share, as Neubig & Dyer 2016 (1606.00499) do: the
counts know the rare strings from the first second, the network the rest. It does not know positions beyond its context and
makes no plan: what it wrote is all it remembers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mintage.core.config import Within
from mintage.core.errors import UsageError
from mintage.core.spec import PAD, Batch, Cond, Phase, Spec, Specs
from mintage.core.words import say
from mintage.nn.decode import Knobs, decode
from mintage.nn.ngram import Ngram
from mintage.nn.noise import Noise
from mintage.nn.optim import mark
from mintage.nn.settled import Settled
from mintage.nn.transformer import Decoder

SHARES = tuple(i / 20 for i in range(20))  # of the counts in the mixture
NULLED = 0.1  # of the training examples lose their condition, so that its absence is known too
PIECE = 2048  # tokens of a document that the counts read at once


@dataclass(frozen=True)
class Config:
    """What a person may set.

    Attributes:
        width: Numbers a token is carried by.
        layers: Blocks.
        heads: Attention heads; width / heads numbers each.
        pairs: Rows that pairs of neighbouring tokens are hashed into.
        dropout: Share of channels silenced in training; for long runs on little data.
        counts: Mix in an n-gram model where nothing conditions the text.
    """

    width: Annotated[int, Within(8, 8192)] = 192
    layers: Annotated[int, Within(1, 128)] = 4
    heads: Annotated[int, Within(1, 128)] = 3
    pairs: Annotated[int, Within(1, 1 << 24)] = 8192
    dropout: Annotated[float, Within(0, 0.95)] = 0.0
    counts: bool = True


def sizes(n: int, minutes: float, speed: float) -> tuple[Config, dict[str, Any]]:
    """Sizes for `n` training tokens, `minutes` and a matrix roof of `speed` GFLOP/s.

    What is not matrix products bounds a step, so the rate that arrives is taken as 1 / (1 / .75 speed + 1 / 350). Of that compute C
    a network of N = sqrt(C / 8) parameters is trained, 1.3 tokens a parameter. Both are extrapolated from one measured point (width
    192, 4 layers, 90 s on tinyshakespeare); sizes were not raced against each other.
    More passes over the same text get dropout, longer runs a longer reach and larger steps; this too is untested.
    """
    rate = 1 / (1 / (0.75 * max(speed, 1.0)) + 1 / 350)
    compute = rate * 1e9 * minutes * 60
    aim = min(math.sqrt(compute / 8), 12e6, max(3e5, 8.0 * n))
    shapes = [(64, 3), (128, 3), (128, 4), (192, 4), (256, 4), (256, 6), (320, 6), (384, 6)]
    width, layers = min(shapes, key=lambda shape: abs(math.log(12 * shape[0] ** 2 * shape[1] / aim)))
    epochs = compute / (6 * 12 * width**2 * layers) / max(1, n)
    length = 128 if minutes < 3 else 192 if minutes < 10 else 256
    tokens = 4096 if minutes < 3 or n < 600_000 else 8192  # little text wants more steps, not larger ones
    config = Config(width, layers, width // 64, dropout=0.0 if epochs < 5 else 0.1 if epochs < 15 else 0.2)
    training = {"batch": tokens // length, "length": length + 1, "lr": 0.02, "weight_decay": 0.1}
    return config, training | {"ema": 0.02, "warmup": 0.02, "decay": 0.6, "clip": 1.0}


class Counts(Settled):
    """The n-gram model as buffers, and its share of the mixture."""

    share: Tensor  # []

    def __init__(self) -> None:
        """Empty until settled."""
        super().__init__()
        self._model: Ngram | None = None
        self._source: Tensor | None = None  # the buffer that the model was built from
        self.keep(share=torch.tensor(0.35))

    def fit(self, batches: Iterable[Batch], vocab: int) -> None:
        """Count one pass over the train split."""
        pieces: list[Tensor] = []
        for batch in batches:
            for row, length in zip(batch.x, batch.length.tolist(), strict=True):
                pieces += [row[i : min(length, i + PIECE + 1)] for i in range(0, max(1, length - 1), PIECE)]
        if not pieces:
            return
        x = torch.nn.utils.rnn.pad_sequence(pieces, batch_first=True, padding_value=PAD).long()
        counted = Ngram(vocab)
        counted.fit(x, torch.tensor([len(piece) for piece in pieces]))
        self.keep(**counted.state())

    @property
    def model(self) -> Ngram | None:
        """The n-gram model, rebuilt when the buffers were loaded; None before there are any."""
        source = self._buffers.get("smoothing")
        if source is not None and source is not self._source:
            self._model, self._source = Ngram.restore(dict(self.named_buffers(recurse=False))), source
        return self._model


class Model(nn.Module):
    """p(next id | ids so far, class, caption)."""

    chunk = 1  # rows decoded at once: reading the weights is the cost, and one stream alone is the quickest to a person
    phases: tuple[Phase, ...] = (Phase("tokens"),)

    def __init__(self, target: Spec, cond: Specs, config: Config) -> None:
        """The window that it is trained on is the target's length."""
        super().__init__()
        if config.width % config.heads:
            sentence = "-o heads={heads}: choose a divisor of the width {width}."
            raise UsageError(say(sentence, heads=config.heads, width=config.width))
        self.target, self.config = target, config
        self.context = target.shape[0] or 128
        self.net = Decoder(target.vocab, config.width, config.layers, config.heads, self.context, config.pairs)
        self.class_embed = nn.Embedding(cond["class"].vocab + 1, config.width) if "class" in cond else None
        self.caption_embed = nn.Embedding(cond["caption"].vocab, config.width) if "caption" in cond else None
        for table in (self.class_embed, self.caption_embed):
            if table is not None:
                nn.init.zeros_(table.weight)
                mark(table, lr=5.0)
        self.counts = Counts() if config.counts and not ({"class", "caption"} & set(cond)) else None

    @staticmethod
    def refuse(target: Spec, cond: Specs) -> str | None:
        """Only token streams can be written token by token."""
        if target.kind != "tokens":
            return say("gpt writes tokens, and this data is a grid of {axes}.", axes=" × ".join(target.axes) or "grids")
        return None

    @staticmethod
    def fit(target: Spec, cond: Specs, n: int, minutes: float, speed: float) -> tuple[Config, dict[str, Any]]:
        """See `sizes`."""
        return sizes(n, minutes, speed)

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
                own.append(self._net_log_prob(batch.x, batch.cond)[real])
                counted.append(self.counts.model.token_log_prob(batch.x)[real])
        pair = torch.stack([torch.cat(own), torch.cat(counted)]).double().exp()
        losses = [-torch.log((1 - s) * pair[0] + s * pair[1]).mean().item() for s in SHARES]
        self.counts.keep(share=torch.tensor(SHARES[losses.index(min(losses))]))

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
        p = self.config.dropout
        if not p:
            return None
        kept = ~noise.fork("dropout").mask((2 * self.config.layers, rows, 1, self.config.width), p)
        return kept.float() / (1 - p)

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

    def _net_log_prob(self, x: Tensor, cond: Cond) -> Tensor:
        logits = self.net(x[:, :-1], self._given(cond, len(x)))
        return -F.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten(), reduction="none").view(len(x), -1)

    def token_log_prob(self, x: Tensor, cond: Cond) -> Tensor:
        """Log probability in nats of each token but the first. [B, T] -> [B, T - 1]; T at most the context."""
        own = self._net_log_prob(x, cond)
        if self.counts is None or self.counts.model is None:
            return own
        share = float(self.counts.share)
        counted = self.counts.model.token_log_prob(x.cpu()).to(own.device)
        return torch.logaddexp(own + math.log(1 - share), counted + math.log(share)) if share else own

    def log_prob(self, batch: Batch) -> Tensor:
        """Log probability in nats of each row's real tokens after its first. [B]"""
        return (self.token_log_prob(batch.x, batch.cond) * self._real(batch.x, batch.length)).sum(1)

    def sample(self, cond: Mapping[str, Tensor], noise: Noise, knobs: Mapping[str, Any]) -> Iterator[Tensor]:
        """Ids as they grow [B, t], the prompt first; the last is final, PAD after the end."""
        prior = self.counts.model if self.counts is not None else None
        share = float(self.counts.share) if self.counts is not None else 0.0
        given = self._given(cond, noise.rows)
        own = Knobs.of(knobs, self.context)
        yield from decode(self.net, noise.fork("tokens"), own, given, cond.get("prompt"), prior if share else None, share)
