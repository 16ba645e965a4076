"""Writing token by token: temperature, top-k, nucleus, stop sequences, streaming, for any network that reads a stream.

The nucleus is that of Holtzman et al., 1904.09751. A reader that can guess what comes next, cheaply, is asked to: what it
guessed is read at once with the token before, and holds as far as it is what the network draws with the same noise, so the
text is the same and comes faster (the thought of Leviathan et al., 2211.17192, with shared draws in place of its test). Rows
are written one after the other, each from its own noise. It knows no network and no beams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mintage.core.spec import BOS, EOS, MASK, PAD, SEP
from mintage.nn.noise import Chooser, Noise

Array = NDArray[np.float32]
Draw = Callable[[Array, int], int]  # logits [V] of a place, and the place -> id


class Reader(Protocol):
    """All that decoding asks of a network: it reads one stream, and remembers."""

    def read(self, ids: Sequence[int], last: int = 1) -> Array:
        """Read tokens, at least one; logits of what follows each of the `last` of them. [last, V]"""


@runtime_checkable
class Guesses(Reader, Protocol):
    """A reader that can guess ahead."""

    def read_ahead(self, ids: Sequence[int], draw: Draw, at: int) -> tuple[list[int], Array]:
        """Read tokens and a guess at what follows them, drawn for the places from `at` on: g ids and logits [g + 1, V]."""

    def unread(self, n: int) -> None:
        """Forget the last `n` guesses that were read."""


@dataclass(frozen=True)
class Sharpness:
    """Which tokens may be drawn, and how evenly.

    Attributes:
        temperature: Sharpness; 0 always takes the likeliest.
        top_k: Only the k likeliest; 0 for all.
        top_p: Only the likeliest that together hold this share.
    """

    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 1.0


@dataclass(frozen=True)
class Knobs(Sharpness):
    """How to draw.

    Attributes:
        length: Most new tokens.
        stop: Token sequences that end a row; they are kept.
        forbid: Ids never drawn.
        every: Tokens between two previews.
        cache: False recomputes the whole context at every token: slow, the same text.
    """

    length: int = 256
    stop: tuple[tuple[int, ...], ...] = ()
    forbid: tuple[int, ...] = (PAD, BOS, SEP, MASK)
    every: int = 16
    cache: bool = True

    @classmethod
    def of(cls, knobs: Mapping[str, Any], length: int) -> Self:
        """Read a request; `length` where none is asked. A stop may be one id or a sequence of ids."""
        own = {k: v for k, v in knobs.items() if k in cls.__dataclass_fields__ and v is not None}
        own["length"] = int(own.get("length") or length)
        own["stop"] = tuple((s,) if isinstance(s, int) else tuple(s) for s in own.get("stop", ()))
        own["forbid"] = (*cls.forbid, *own.get("forbid", ()))
        return cls(**own)


class Guided:
    """Two readers of one stream, one that knows the condition and one that does not (Sanchez et al., 2306.17806)."""

    def __init__(self, told: Reader, free: Reader, guidance: float) -> None:
        """Log probabilities go `guidance` times the way from `free` to `told`."""
        self.told, self.free, self.guidance = told, free, np.float32(guidance)

    def read(self, ids: Sequence[int], last: int = 1) -> Array:
        """Read tokens; log probabilities, up to a constant, of what follows each of the `last` ones. [last, V]"""
        told, free = self.told.read(ids, last), self.free.read(ids, last)
        guided: Array = free + self.guidance * (told - free)
        return guided


class Leaning:
    """A reader of one stream to which some tokens are likelier throughout, whatever it read."""

    def __init__(self, reader: Reader, lean: Array) -> None:
        """`lean` [1, V] is added to all logits."""
        self.reader, self.lean = reader, lean

    def read(self, ids: Sequence[int], last: int = 1) -> Array:
        """Read tokens; logits of what follows each of the `last` ones. [last, V]"""
        found: Array = self.reader.read(ids, last) + self.lean
        return found


def narrow(logits: Array, knobs: Sharpness) -> Array:
    """Logits [V] after temperature, top-k and nucleus; what is cut is -inf."""
    logits = logits * np.float32(1 / max(knobs.temperature, 1e-4))
    if 0 < knobs.top_k < len(logits):
        logits[logits < np.partition(logits, -knobs.top_k)[-knobs.top_k]] = -np.inf
    if knobs.top_p < 1:
        share = np.exp(logits - logits.max())
        share /= share.sum()
        order = np.flatnonzero(share >= (1 - knobs.top_p) / len(share))  # the others together hold less than what is cut
        order = order[np.argsort(-share[order], kind="stable")]
        before = np.cumsum(share[order]) - share[order]
        kept = order[before < max(knobs.top_p, 1e-9)]
        cut = np.full_like(logits, -np.inf)
        cut[kept] = logits[kept]
        return cut
    return logits


def _ended(row: Sequence[int], stop: tuple[tuple[int, ...], ...]) -> bool:
    return any(tuple(row[-len(s) :]) == s for s in stop)


def _write(reader: Reader, start: Sequence[int], choose: Chooser, knobs: Knobs, made: list[int]) -> Iterator[None]:
    """Append to `made` what follows `start`, until an end; yields where a preview is due."""
    forbidden = np.array(knobs.forbid, np.int64)

    def draw(logits: Array, at: int) -> int:
        logits = logits.copy()
        logits[forbidden] = -np.inf
        return choose(narrow(logits, knobs), at)

    ids, guessing = list(start), reader if isinstance(reader, Guesses) else None
    while True:
        guesses, logits = guessing.read_ahead(ids, draw, len(made)) if guessing else ([], reader.read(ids))
        for k, own in enumerate(logits):
            token = draw(own, len(made))
            made.append(token)
            if token == EOS or len(made) >= knobs.length or _ended(made, knobs.stop):
                return
            if len(made) % knobs.every == 0:
                yield
            if guessing and k < len(guesses) and token != guesses[k]:
                guessing.unread(len(guesses) - k)
                break
        ids = [token]


def decode(reader: Callable[[int], Reader], noise: Noise, knobs: Knobs, prompt: Tensor | None = None) -> Iterator[Tensor]:
    """Draw one row a stream of `noise`.

    Args:
        reader: Makes the reader of row b, which has read nothing yet.
        noise: One stream a row.
        knobs: How to draw.
        prompt: Ids to continue [B, P], PAD where shorter; the document's begin if None.

    Yields:
        Ids so far [B, P + t], the prompt first and PAD after a row's end; the last is final.
    """
    rows = noise.rows
    starts = (
        [[BOS]] * rows if prompt is None else [[t for t in row if t != PAD] or [BOS] for row in prompt.expand(rows, -1).tolist()]
    )
    left = prompt.expand(rows, -1) if prompt is not None else torch.empty(rows, 0, dtype=torch.int64)
    made: list[list[int]] = [[] for _ in range(rows)]

    def so_far() -> Tensor:
        new = torch.nn.utils.rnn.pad_sequence([torch.tensor(row, dtype=torch.int64) for row in made], True, PAD)
        return torch.cat([left, new], 1)

    for b, start in enumerate(starts):
        for _ in _write(reader(b), start, Chooser(noise.row(b)), knobs, made[b]):
            yield so_far()
    yield so_far()
