"""A sentence as one point: token ids ↔ a code of K numbers, for a variational autoencoder on short texts.

The posterior reads the whole text at once; its states are laid side by side, place by place, and one linear map takes
them to the code, as another takes the code back to a hint for every place. A causal Transformer writes the text from the
hints, so it need not carry what the code already says; in training some of the words it reads are hidden, as in Bowman
et al. 2016 (1511.06349), so that it must ask the code. It does not know priors, nor what is the price of a code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mintage.core.spec import BOS, EOS, MASK, PAD, Batch, Cond, Spec, Specs
from mintage.nn.condition import Condition
from mintage.nn.decode import Knobs, Reader, decode
from mintage.nn.layers import working_dtype
from mintage.nn.noise import Noise
from mintage.nn.pieces import Pieces
from mintage.nn.stream import Recomputed, Stream
from mintage.nn.transformer import Block, Decoder

SLOTS = 64  # places with a hint of their own; later ones share the last
DEPTH = 48  # numbers a place gives to the code, and a hint is made from
PAIRS = 4096  # rows that pairs of neighbouring pieces are hashed into
SURE = -4.0  # log variance of the code before training: nearly an autoencoder
GROUPS = 4  # of rows of like length in a batch
HIDE = 0.25  # of what the writer reads in training is hidden
WORDS = 0.5  # the temperature of words, as a share of that of codes: what is meant is drawn before it is said
HEAD = 64  # numbers an attention head has
LENGTH = 128  # ids of a text where the target leaves it open


class Listener(nn.Module):
    """Pieces → what each place says [B, S, W], reading in both directions."""

    def __init__(self, width: int, layers: int, heads: int, context: int) -> None:
        """``context`` pieces at most."""
        super().__init__()
        self.width, self.posteriors = width, heads
        self.place_embed = nn.Embedding(context, width)
        nn.init.normal_(self.place_embed.weight, std=0.5)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])

    def forward(self, words: Tensor, real: Tensor) -> Tensor:
        """Embedded pieces [B, S, W] and which of them count [B, S]."""
        dtype = working_dtype(words)
        with torch.autocast(words.device.type, enabled=False):
            x = F.layer_norm(words + self.place_embed.weight[: words.shape[1]], (self.width,)).to(dtype)
            bias = torch.zeros(real.shape, dtype=dtype, device=x.device).masked_fill_(~real, float("-inf"))[:, None, None]
            first, extra = x, x.new_zeros(())
            for block in self.blocks:
                x = block(x, first, extra, bias, ())
            return F.layer_norm(x, (self.width,))


class Sentence(nn.Module):
    """Posterior and likelihood of short texts; answers as ``nn.autoencoder.Coder``."""

    def __init__(self, target: Spec, cond: Specs, code: int, width: int, layers: int, pieces: int) -> None:
        """Codes of ``code`` numbers; ``layers`` blocks to read and as many to write; at most ``pieces`` merges of ids."""
        super().__init__()
        length = target.shape[0] or LENGTH
        heads = next(n for n in range(max(1, width // HEAD), 0, -1) if width % n == 0)
        self.code, self.slots, self.context = (code,), min(SLOTS, length), length
        self.pieces = Pieces(target.vocab, pieces)
        self.net = Decoder(len(self.pieces), width, layers, heads, length, PAIRS)
        self.listener = Listener(width, layers, heads, length)
        self.condition = Condition(cond, width)
        self.gather = nn.Linear(width, DEPTH)
        self.posterior = nn.Linear(self.slots * DEPTH, 2 * code)
        self.spread = nn.Linear(code, self.slots * DEPTH)
        self.hint = nn.Linear(DEPTH, width)
        with torch.no_grad():
            self.posterior.bias[code:] = SURE
            self.posterior.weight[code:] *= 0.1

    def settle(self, batches: Iterable[Batch]) -> None:
        """Learn the pieces of the train split."""
        self.pieces.fit(batches)

    def encode(self, x: Tensor, cond: Cond) -> tuple[Tensor, Tensor]:
        """Texts [B, T] → mean and log variance of their codes, [B, K] each."""
        pieces, count = self.pieces.encode(x, used(x))
        said = [self._said(pieces[rows, : int(count[rows].max())], count[rows]) for rows in _alike(count)]
        back = torch.cat(_alike(count)).argsort()
        mean, logvar = self.posterior(torch.cat(said)[back]).float().chunk(2, 1)
        return mean, logvar.clamp(-12, 4)

    def _said(self, pieces: Tensor, count: Tensor) -> Tensor:
        """What the places say, side by side [B, M · D]; those beyond the slots share the last."""
        real = torch.arange(pieces.shape[1], device=pieces.device) < count[:, None]
        said = self.gather(self.listener(self.net.embed(pieces), real)).float() * real[..., None]  # [B, S, D]
        last = self.slots - 1
        if said.shape[1] > self.slots:
            tail = said[:, last:].sum(1, keepdim=True) / real[:, last:].sum(1).clamp(min=1)[:, None, None]
            said = torch.cat([said[:, :last], tail], 1)
        return F.pad(said, (0, 0, 0, self.slots - said.shape[1])).flatten(1)

    def decode(self, z: Tensor, cond: Cond) -> Tensor:
        """Codes [B, K] → what the writer is told at each place [B, M, W]."""
        told: Tensor = self.hint(self.spread(z).view(len(z), self.slots, DEPTH)).float()
        asked: Tensor = self.condition(cond, len(z))
        return told + asked.to(told.device)[:, None]

    def nats(self, output: Tensor, x: Tensor, noise: Noise | None = None) -> Tensor:
        """Nats of the tokens after the first, told ``output`` [B, M, W]; with ``noise`` some of what is read is hidden. [B]"""
        pieces, count = self.pieces.encode(x, used(x))
        given = pieces
        if noise is not None:
            hidden = noise.fork("hide").mask(tuple(pieces.shape), HIDE).to(x.device)
            hidden[:, 0] = False
            given = pieces.masked_fill(hidden, MASK)
        lost = torch.zeros(len(x), device=x.device)
        for rows in _alike(count):
            end = int(count[rows].max())
            lost = lost.index_add(0, rows, self._lost(pieces[rows, 1:end], given[rows, : end - 1], output[rows], count[rows]))
        return lost

    def _lost(self, wanted: Tensor, given: Tensor, hint: Tensor, count: Tensor) -> Tensor:
        """Nats of the pieces ``wanted`` [B, S] after ``given`` [B, S]. [B]"""
        real = torch.arange(1, wanted.shape[1] + 1, device=wanted.device) < count[:, None]
        logits = self.net.logits(self.net.states(given, hint)[real])  # [N, V]: only where a piece is wanted
        lost = F.cross_entropy(logits, wanted[real], reduction="none")
        return torch.zeros(real.shape, device=real.device).masked_scatter(real, lost).sum(1)

    def made(self, output: Tensor, cond: Cond, noise: Noise, knobs: Mapping[str, Any]) -> Iterator[Tensor]:
        """Ids as they grow [B, t], the prompt first; the last is final, PAD after the end."""
        wish, prompt = Knobs.of(knobs, self.context), cond.get("prompt")
        start, begun, most = None, [0] * noise.rows, self.context - 2
        if prompt is not None:
            begun = used(prompt).tolist()
            start, _ = self.pieces.encode(prompt, used(prompt))
            most = max(1, most - start.shape[1])
        own = replace(
            wish,
            temperature=WORDS * wish.temperature,
            forbid=self.pieces.holding(wish.forbid),
            stop=(),
            length=min(wish.length, most),
        )

        def reader(row: int) -> Reader:
            return Stream(self.net, output[row]) if own.cache else Recomputed(self.net, output[row])

        for grown in decode(reader, noise, own, start):
            rows = torch.stack([_cut(row, at, wish) for row, at in zip(self.pieces.decode(grown), begun, strict=True)])
            yield rows[:, : max(1, int(used(rows).max()))]


def used(x: Tensor) -> Tensor:
    """How many ids of each row are in use. [B]"""
    return (x != PAD).sum(1)


def begun(x: Tensor) -> Tensor:
    """Texts [B, T] with a begin before each that lacks it, as those have that were made. [B, T or T + 1]"""
    if (x[:, 0] == BOS).all():
        return x
    rows = [row if row[0] == BOS else F.pad(row, (1, 0), value=BOS) for row in x]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


def gathered(batches: Iterable[Batch], length: int, rows: int = 256) -> Iterator[Batch]:
    """Documents that come one a batch as batches of their first ``length`` ids."""
    waiting: list[Batch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(len(b.x) for b in waiting) >= rows:
            yield _joined(waiting, length)
            waiting = []
    if waiting:
        yield _joined(waiting, length)


def _joined(batches: list[Batch], length: int) -> Batch:
    """Several batches as one."""
    counts = torch.cat([b.length for b in batches]).clamp(max=length)
    widest = int(counts.max())
    x = torch.cat([F.pad(b.x[:, :widest], (0, max(0, widest - b.x.shape[1]))) for b in batches])
    cond = {name: torch.cat([b.cond[name] for b in batches]) for name in batches[0].cond}
    return Batch(x, cond, torch.cat([b.weight for b in batches]), counts)


def _alike(count: Tensor) -> list[Tensor]:
    """Rows in groups of like length, which need half the padding."""
    return list(count.argsort(stable=True).tensor_split(max(1, min(GROUPS, len(count) // 16))))


def _cut(row: Tensor, start: int, knobs: Knobs) -> Tensor:
    """A row [T] up to its end, the first stop sequence (kept) or the most new tokens; PAD after it."""
    ids = row.tolist()
    for at in range(start + 1, len(ids) + 1):
        if (
            at - start >= knobs.length
            or ids[at - 1] == EOS
            or any(tuple(ids[max(start, at - len(s)) : at]) == s for s in knobs.stop)
        ):
            return torch.cat([row[:at], torch.full_like(row[at:], PAD)])
    return row
