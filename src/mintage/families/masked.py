"""A bidirectional Transformer that fills in what is hidden, in any order: blanks, ends, whole texts; by class or caption.

The network is ``nn.transformer`` without the direction, trained as an order-agnostic autoregressive model (Uria et al. 2014;
Hoogeboom et al., 2110.02037): a random share of the tokens, from one to all, is hidden, and each is told from what is left;
counts of what stands beside what give it the first logits (``nn.beside``). Where a text ends is a choice among the places,
made before its tokens. What is not given is unknown, so one model generates, fills blanks and continues; a fifth of the
training hides a stretch, and a fifth does not know the end. Its likelihood is a lower bound. It sees ``context`` tokens at
once; longer texts are written piece by piece.
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
from mintage.core.spec import BOS, EOS, MASK, PAD, Batch, Cond, Phase, Spec, Specs
from mintage.core.words import say
from mintage.nn import decode
from mintage.nn.beside import Beside
from mintage.nn.conditioned import Conditioned
from mintage.nn.noise import Chooser, Noise
from mintage.nn.transformer import Encoder, Shape, sizes

STRETCH = 0.2  # of the training examples hide a stretch, as blanks and continuations do
OPEN = 0.2  # of them do not know their end
PASSES = 8  # readings of a text behind its likelihood
SILENT = (PAD, BOS, EOS, MASK)  # never the answer to a blank


@dataclass(frozen=True)
class Config(Shape):
    """What a person may set."""


@dataclass(frozen=True)
class Knobs(decode.Sharpness):
    """How to fill in.

    Attributes:
        length: Most new tokens after the prompt; 0 takes the model's context.
        steps: Readings in which a piece is filled, a few tokens each; more is better and slower.
    """

    length: int = 0
    steps: Annotated[int, Within(1, 65_536)] = 32


class Model(Conditioned):
    """p(hidden ids | the others, class, caption)."""

    net: Encoder
    chunk = 8  # rows filled at once
    fills = True  # MASK in a prompt is a blank
    phases: tuple[Phase, ...] = (Phase("tokens"),)
    allowed: Tensor

    def __init__(self, target: Spec, cond: Specs, config: Config) -> None:
        """The window that it is trained on is the target's length."""
        self.target = target if target.shape[0] else target.at(token=128)
        self.context = self.target.shape[0]
        net = Encoder(target.vocab, config.width, config.layers, config.heads, self.context, config.pairs)
        super().__init__(cond, net, config.dropout)
        self.config = config
        self.beside = None if target.slots else Beside(target.vocab)
        self.end_head = nn.Parameter(torch.zeros(2, config.width))  # scores a place as the end; the first, as no end in sight
        self.register_buffer("allowed", self._allowed(), persistent=False)

    def _allowed(self) -> Tensor:
        """What each position may be: added to its logits. [1 or T, V]"""
        rows = torch.zeros(max(1, len(self.target.slots)), self.target.vocab)
        rows[:, list(SILENT)] = -math.inf
        ids = torch.arange(self.target.vocab)
        for row, (low, high) in zip(rows, self.target.slots, strict=False):
            row[(ids < low) | (ids >= high)] = -math.inf
        return rows

    def _allowed_at(self, places: Tensor) -> Tensor:
        """The rows of `allowed` for places [...]. [..., V]"""
        return self.allowed[places] if self.target.slots else self.allowed[0]

    @staticmethod
    def refuse(target: Spec, cond: Specs) -> str | None:
        """Only tokens can be hidden one by one."""
        if target.kind != "tokens":
            return say("masked fills in tokens, and this data is a grid of {axes}.", axes=" × ".join(target.axes) or "grids")
        return None

    @staticmethod
    def fit(target: Spec, cond: Specs, n: int, minutes: float, speed: float) -> tuple[Config, dict[str, Any]]:
        """See `nn.transformer.sizes`; half of the tokens are hidden, so twice as many passes make an overfitted model."""
        width, layers, dropout, training = sizes(n, minutes / 2, speed)
        return Config(width, layers, width // 64, dropout=dropout), training

    def _content(self, x: Tensor, length: Tensor) -> Tensor:
        """Which tokens can be hidden: all but the frame. [B, T]"""
        real = torch.arange(x.shape[1], device=x.device) < length.to(x.device)[:, None]
        return real & (x != BOS) & (x != EOS)

    @staticmethod
    def _hide(content: Tensor, share: Tensor, noise: Noise) -> Tensor:
        """Hide 1 to all of each row's content as `share` [B] goes from 0 to 1: scattered, or for some rows a stretch. [B, T]"""
        b, t = content.shape
        n = content.sum(1, keepdim=True)
        k = (1 + (share[:, None] * n).long()).minimum(n)
        rank = noise.uniform((b, t)).masked_fill(~content, 2.0).argsort(1).argsort(1)
        at = content.cumsum(1) - 1 - (noise.uniform((b, 1)) * 1.5).clamp(max=1).mul(n - k + 0.999).long()  # a third are tails
        stretch = noise.mask((b, 1), STRETCH)
        return content & torch.where(stretch, (at >= 0) & (at < k), rank < k)

    def _ends(self, hidden: Tensor, free: Tensor) -> Tensor:
        """Log probabilities that there is no end in sight, and that each free place [B, T] is it. [B, 1 + T]"""
        none = hidden[:, :1].float() @ self.end_head[1]
        places = (hidden.float() @ self.end_head[0]).masked_fill(~free, -math.inf)
        return torch.cat([none, places], 1).log_softmax(1)

    @staticmethod
    def _end(x: Tensor) -> Tensor:
        """Number of the end in what `_ends` tells: 0, or 1 + its place. [B]"""
        found = x == EOS
        return torch.where(found.any(1), 1 + found.int().argmax(1), 0)

    def settle(self, batches: Iterable[Batch]) -> None:
        """Count what stands beside what in the train split; called once, before the first step."""
        if self.beside is not None:
            self.beside.fit(batches)

    def logits(self, hidden: Tensor, seen: Tensor, rows: Tensor, places: Tensor) -> Tensor:
        """What stands at `places` [N] of rows [N] of `seen` [B, T], for states [N, W] of those places. [N, V]"""
        logits = self.net.logits(hidden) + self._allowed_at(places)
        return logits if self.beside is None else self.beside.add(logits, seen, rows, places)

    def _answers(self, hidden: Tensor, x: Tensor, seen: Tensor, asked: Tensor) -> Tensor:
        """Log probability of each asked token of x, of which `seen` is known, 0 elsewhere. [B, T]"""
        logits = self.logits(hidden[asked], seen, *asked.nonzero().unbind(1))
        return torch.zeros(x.shape, device=x.device).masked_scatter(asked, -F.cross_entropy(logits, x[asked], reduction="none"))

    def loss(self, batch: Batch, phase: Phase, progress: float, noise: Noise) -> dict[str, Tensor]:
        """Mean nats a hidden token of each example, and nats of the end where it is not known."""
        x, b = batch.x, len(batch.x)
        content = self._content(x, batch.length)
        asked = self._hide(content, noise.fork("share").uniform((b,)), noise.fork("hide"))
        unknown = noise.fork("open").mask((b, 1), OPEN) & (not self.target.slots)
        seen = x.masked_fill(asked, MASK).masked_fill(unknown & ~content & (x != BOS), MASK)
        hidden = self.net.states(seen, self.given(batch.cond, b, noise), drops=self.drops(b, noise))
        nats = -self._answers(hidden, x, seen, asked).sum(1) / asked.sum(1).clamp(min=1)
        end = -self._ends(hidden, ~unknown | (seen == MASK)).gather(1, self._end(x)[:, None])[:, 0]
        return {"nats": nats, "end": torch.where(unknown[:, 0], end, 0.0)}

    def log_prob(self, batch: Batch) -> Tensor:
        """A lower bound of the log probability in nats of each row after its first token, from a few readings. [B]"""
        b, noise = len(batch.x), Noise("bound")
        given = self.given(batch.cond, b)
        x = F.pad(batch.x, (0, self.context - batch.x.shape[1]), value=PAD)
        content, end = self._content(x, batch.length), self._end(x)
        n = content.sum(1)
        beyond = torch.arange(self.context, device=x.device) >= batch.length.to(x.device)[:, None]
        known = x.masked_fill(beyond & (end == 0)[:, None], MASK)  # a text that goes on
        total = torch.zeros(b, device=x.device)
        for k in range(PASSES):
            share = (k + noise.uniform((b,))) / PASSES
            asked = self._hide(content, share, noise)
            seen = known.masked_fill(asked, MASK)
            total += self._answers(self.net.states(seen, given), x, seen, asked).sum(1) * n / asked.sum(1).clamp(min=1) / PASSES
        if self.target.slots:
            return total
        blank = torch.where(x == BOS, x, MASK)
        ends = self._ends(self.net.states(blank, given), blank == MASK)
        later = ends[:, 1:].masked_fill(~beyond, -math.inf).logsumexp(1).logaddexp(ends[:, 0])
        return total + torch.where(end > 0, ends.gather(1, end[:, None])[:, 0], later)

    def _canvas(self, cond: Cond, rows: int, length: int) -> tuple[Tensor, int]:
        """Ids with MASK for what is to be filled [B, N], and how many of them a person gave."""
        if "mask" in cond:
            return torch.where(cond["mask"] > 0, cond["known"], MASK).expand(rows, -1).clone(), self.context
        prompt = cond["prompt"].expand(rows, -1) if "prompt" in cond else torch.full((rows, 1), BOS)
        new = 0 if (prompt == MASK).any() else length or max(1, self.context - prompt.shape[1])
        return F.pad(prompt, (0, new), value=MASK), prompt.shape[1]

    @torch.inference_mode()
    def sample(self, cond: Cond, noise: Noise, knobs: Mapping[str, Any]) -> Iterator[Tensor]:
        """Ids [B, N], piece by piece: the prompt with its blanks filled, or the prompt and what follows it; PAD after the end.

        `known` and `mask` (1 = known) ask for any part of one window instead; MASK in the prompt asks for its blanks alone.
        """
        own = Knobs(**{k: v for k, v in knobs.items() if k in Knobs.__dataclass_fields__ and v is not None})
        rows, span, given = noise.rows, self.context, self.given(cond, noise.rows)
        canvas, first = self._canvas(cond, rows, own.length)
        enders = [Chooser(noise.fork("end").row(b)) for b in range(rows)]
        for piece, begin in enumerate(range(0, max(1, canvas.shape[1] - span // 2), span - span // 2)):
            part = canvas[:, begin : begin + span]
            seen = F.pad(part, (0, span - part.shape[1]), value=MASK)
            place = torch.arange(begin, begin + span)
            ended = (canvas == EOS).any(1).tolist()
            if not self.target.slots and not all(ended):
                ends = self._ends(self.net.states(seen, given), (seen == MASK) & (place >= first)).numpy()
                for b, choose in enumerate(enders):
                    at = 0 if ended[b] else choose(ends[b], piece)
                    if at:
                        seen[b, at - 1], seen[b, at:], canvas[b, begin + span :] = EOS, PAD, PAD
            self._fill(seen, (seen == MASK) & (place < canvas.shape[1]), given, noise.fork("piece", piece), own)
            canvas[:, begin : begin + span] = seen[:, : part.shape[1]]
            yield canvas[:, : begin + span].clone()

    def _fill(self, seen: Tensor, wanted: Tensor, given: Tensor | None, noise: Noise, knobs: Knobs) -> None:
        """Draw the wanted places of a window [B, T] in random order, a few of each row at a time."""
        rows, span = seen.shape
        steps, n = min(knobs.steps, span), wanted.sum(1, keepdim=True).clamp(min=1)
        most = -(-span // steps)  # always as many, because float results change with a product's shape
        rank = noise.uniform((rows, span)).masked_fill(~wanted, 2.0).argsort(1).argsort(1)
        turn = torch.where(wanted, -(-(rank + 1) * steps // n) - 1, -1)
        choosers = [Chooser(noise.fork("tokens").row(b)) for b in range(rows)]
        for step in range(steps):
            asked = turn == step
            if not asked.any():
                continue
            places = asked.int().argsort(dim=1, descending=True, stable=True)[:, :most]
            each = torch.arange(rows).repeat_interleave(most)
            hidden = self.net.states(seen, given)[each, places.flatten()]
            logits = self.logits(hidden, seen, each, places.flatten()).view(rows, most, -1)
            for b, choose in enumerate(choosers):
                for k in range(int(asked[b].sum())):
                    at = int(places[b, k])
                    seen[b, at] = choose(decode.narrow(logits[b, k].numpy(), knobs), at)
