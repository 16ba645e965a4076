"""A Transformer that fills in what is hidden, in any order: blanks, ends, whole texts, cells of a row; by class or caption.

The network is ``nn.transformer`` without the direction, trained as an order-agnostic autoregressive model (Uria et al. 2014;
Hoogeboom et al., 2110.02037): a random share of the tokens, from one to all, is hidden, and each is told from what is left;
counts of what stands beside what give it the first logits (``nn.beside``). Where a text ends is a choice among the places,
made before its tokens. What is not given is unknown, so one model generates, fills blanks and continues; a fifth of the
training hides a stretch, and a fifth does not know the end. Its likelihood is a lower bound. It sees ``context`` tokens at
once; longer texts are written piece by piece. The columns of a row have no neighbours: there the network is ``nn.anyorder``,
which reads what is known in a random order, so that a step teaches every column.
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
from mintage.nn.anyorder import AnyOrder
from mintage.nn.beside import Beside
from mintage.nn.conditioned import Conditioned
from mintage.nn.noise import Chooser, Noise
from mintage.nn.transformer import Encoder, Shape, sizes

STRETCH = 0.2  # of the training examples hide a stretch, as blanks and continuations do
OPEN = 0.2  # of them do not know their end
PASSES = 8  # readings of a text behind its likelihood
SILENT = (PAD, BOS, EOS, MASK)  # never the answer to a blank
ORDERS = 2  # readings of a row behind its likelihood
ROWS = 2048  # drawn at once: a row costs little, so that a chunk is quick


@dataclass(frozen=True)
class Config(Shape):
    """What a person may set."""


@dataclass(frozen=True)
class Knobs(decode.Sharpness):
    """How to fill in.

    Attributes:
        length: Most new tokens after the prompt; 0 takes the model's context.
        forbid: Ids never drawn.
        steps: Readings in which a piece is filled, a few tokens each; more is better and slower.
    """

    length: int = 0
    forbid: tuple[int, ...] = ()
    steps: Annotated[int, Within(1, 65_536)] = 32


class Model(Conditioned):
    """p(hidden ids | the others, class, caption)."""

    net: Any  # an Encoder, or of rows an AnyOrder
    chunk = 8  # texts filled at once
    fills = True  # MASK in a prompt is a blank
    halves = True
    phases: tuple[Phase, ...] = (Phase("tokens"),)
    allowed: Tensor
    beside: Beside | None

    def __init__(self, target: Spec, cond: Specs, config: Config) -> None:
        """The window that it is trained on is the target's length; slots say that it is the columns of a row."""
        self.target = target if target.shape[0] else target.at(token=128)
        self.context = self.target.shape[0]
        self.config = config
        if target.slots:
            super().__init__(cond, AnyOrder(target.slots, config.width, config.layers, config.heads), config.dropout)
            self.chunk, self.fills, self.beside = ROWS, False, None
            return
        net = Encoder(target.vocab, config.width, config.layers, config.heads, self.context, config.pairs)
        super().__init__(cond, net, config.dropout)
        self.beside = Beside(target.vocab)
        self.end_head = nn.Parameter(torch.zeros(2, config.width))  # scores a place as the end; the first, as no end in sight
        silent = torch.zeros(target.vocab).index_fill(0, torch.tensor(SILENT), -math.inf)
        self.register_buffer("allowed", silent, persistent=False)  # added to logits [V]

    @staticmethod
    def refuse(target: Spec, cond: Specs) -> str | None:
        """Only tokens can be hidden one by one."""
        if target.kind != "tokens":
            return say("masked fills in tokens, and this data is a grid of {axes}.", axes=" × ".join(target.axes) or "grids")
        return None

    @staticmethod
    def fit(target: Spec, cond: Specs, n: int, minutes: float, speed: float) -> tuple[Config, dict[str, Any]]:
        """See `nn.transformer.sizes`; half of the tokens are hidden, so twice as many passes make an overfitted model.

        Of rows, few make a small network with more dropout; how many a step takes does not depend on the minutes.
        """
        if target.slots:
            rows = n // len(target.slots)
            small, few = rows < 2_000, rows < 20_000
            width, layers, dropout = (64, 2, 0.2) if small else (128, 3, 0.05 if few else 0.0)
            own = {"batch": min(512, max(32, 1 << (rows // 16).bit_length())), "lr": 0.02, "weight_decay": 0.1, "ema": 0.03}
            return Config(width, layers, width // 32, dropout=dropout), own | {"warmup": 0.02, "decay": 0.6, "clip": 1.0}
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
        assert self.beside is not None
        return self.beside.add(self.net.logits(hidden) + self.allowed, seen, rows, places)

    def _answers(self, hidden: Tensor, x: Tensor, seen: Tensor, asked: Tensor) -> Tensor:
        """Log probability of each asked token of x, of which `seen` is known, 0 elsewhere. [B, T]"""
        logits = self.logits(hidden[asked], seen, *asked.nonzero().unbind(1))
        return torch.zeros(x.shape, device=x.device).masked_scatter(asked, -F.cross_entropy(logits, x[asked], reduction="none"))

    def loss(self, batch: Batch, phase: Phase, progress: float, noise: Noise) -> dict[str, Tensor]:
        """Mean nats a hidden token of each example, and of a text nats of the end where it is not known."""
        x, b = batch.x, len(batch.x)
        if isinstance(self.net, AnyOrder):
            order = noise.fork("order").uniform(x.shape).argsort(1).to(x.device)
            return {"nats": -self.net(x, order, self.given(batch.cond, b, noise), drops=self.drops(b, noise)).mean(1)}
        content = self._content(x, batch.length)
        asked = self._hide(content, noise.fork("share").uniform((b,)), noise.fork("hide"))
        unknown = noise.fork("open").mask((b, 1), OPEN)
        seen = x.masked_fill(asked, MASK).masked_fill(unknown & ~content & (x != BOS), MASK)
        hidden = self.net.states(seen, self.given(batch.cond, b, noise), drops=self.drops(b, noise))
        nats = -self._answers(hidden, x, seen, asked).sum(1) / asked.sum(1).clamp(min=1)
        end = -self._ends(hidden, ~unknown | (seen == MASK)).gather(1, self._end(x)[:, None])[:, 0]
        return {"nats": nats, "end": torch.where(unknown[:, 0], end, 0.0)}

    def log_prob(self, batch: Batch) -> Tensor:
        """A lower bound of the log probability in nats of each row after its first token, from a few readings. [B]"""
        b, noise = len(batch.x), Noise("bound")
        given = self.given(batch.cond, b)
        if isinstance(self.net, AnyOrder):
            orders = [noise.uniform(batch.x.shape).argsort(1) for _ in range(ORDERS)]
            return torch.stack([self.net(batch.x, order, given).sum(1) for order in orders]).mean(0)
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

        `known` and `mask` (1 = known) ask for any part of one window, or of a row, instead; MASK in the prompt asks for its
        blanks alone.
        """
        if isinstance(self.net, AnyOrder):
            yield self._rows(cond, noise, knobs)
            return
        own = Knobs(**{k: v for k, v in knobs.items() if k in Knobs.__dataclass_fields__ and v is not None})
        rows, span, given = noise.rows, self.context, self.given(cond, noise.rows)
        canvas, first = self._canvas(cond, rows, own.length)
        enders = [Chooser(noise.fork("end").row(b)) for b in range(rows)]
        for piece, begin in enumerate(range(0, max(1, canvas.shape[1] - span // 2), span - span // 2)):
            part = canvas[:, begin : begin + span]
            seen = F.pad(part, (0, span - part.shape[1]), value=MASK)
            place = torch.arange(begin, begin + span)
            ended = (canvas == EOS).any(1).tolist()
            if not all(ended):
                ends = self._ends(self.net.states(seen, given), (seen == MASK) & (place >= first)).numpy()
                for b, choose in enumerate(enders):
                    at = 0 if ended[b] else choose(ends[b], piece)
                    if at:
                        seen[b, at - 1], seen[b, at:], canvas[b, begin + span :] = EOS, PAD, PAD
            self._fill(seen, (seen == MASK) & (place < canvas.shape[1]), given, noise.fork("piece", piece), own)
            canvas[:, begin : begin + span] = seen[:, : part.shape[1]]
            yield canvas[:, : begin + span].clone()

    def _rows(self, cond: Cond, noise: Noise, knobs: Mapping[str, Any]) -> Tensor:
        """Rows [B, C], each in a random order of its own after what is known of it; in bfloat16 where ``dtype`` says so."""
        assert isinstance(self.net, AnyOrder)
        b, columns = noise.rows, self.context
        known = torch.where(cond["mask"] > 0, cond["known"], 0).expand(b, -1) if "mask" in cond else torch.zeros(b, columns).long()
        draws = noise.uniform((b, 2 * columns))
        order = (draws[:, :columns] - (known > 0).float()).argsort(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=knobs.get("dtype") == "bfloat16"):
            given, sharp = self.given(cond, b), float(knobs.get("temperature") or 1.0)
            return self.net.draw(known, order, draws[:, columns:], given, sharp, knobs.get("forbid", ()))

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
                    own = logits[b, k].numpy().copy()
                    own[list(knobs.forbid)] = -math.inf
                    seen[b, at] = choose(decode.narrow(own, knobs), at)
