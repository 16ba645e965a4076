"""Counts mixed into a network's answer: an n-gram model as buffers, and its constant share of the mixture.

Neubig & Dyer 2016 (1606.00499) mix so: the counts know the rare strings from the first second, the network the rest. While
a text is written the counts also guess ahead (see ``nn.decode``). It does not know conditions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mintage.core.spec import PAD, Batch
from mintage.nn.decode import Draw, Reader
from mintage.nn.ngram import Ngram
from mintage.nn.settled import Settled

Array = NDArray[np.float32]
SHARES = tuple(i / 20 for i in range(20))  # of the counts in the mixture
PIECE = 2048  # tokens of a document that the counts read at once
AHEAD = 3  # guesses read at once with a token: four rows of a product cost hardly more than one


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

    def tune(self, own: Tensor, counted: Tensor) -> None:
        """Choose the share from log probabilities of the same held-out tokens by the network and by the counts. [N] each"""
        pair = torch.stack([own, counted]).double().exp()
        losses = [-torch.log((1 - s) * pair[0] + s * pair[1]).mean().item() for s in SHARES]
        self.keep(share=torch.tensor(SHARES[losses.index(min(losses))]))

    def mix(self, own: Tensor, x: Tensor) -> Tensor:
        """Log probabilities of the mixture for those of the network, of each token of `x` but the first. [B, T - 1]"""
        share = float(self.share)
        if self.model is None or not share:
            return own
        counted = self.model.token_log_prob(x.cpu()).to(own.device)
        return torch.logaddexp(own + math.log(1 - share), counted + math.log(share))

    def mixed(self, reader: Reader) -> Reader:
        """A reader that mixes the counts into another's answers."""
        share = float(self.share)
        return Mixed(reader, self.model, share) if self.model is not None and share else reader


class Counting:
    """A `decode.Reader` over an n-gram model alone."""

    def __init__(self, model: Ngram) -> None:
        """Nothing is read yet."""
        self.model = model
        self.states: list[list[int]] = [[0]]  # after each of the newest tokens

    def read(self, ids: Sequence[int], last: int = 1) -> Array:
        """Read tokens; log probabilities of what follows each of the `last` ones. [last, V]"""
        del self.states[: -AHEAD - 1]
        for token in ids:
            self.states.append(self.model.follow(self.states[-1], token))
        found: Array = np.stack([self.model.following(state) for state in self.states[-last:]]).astype(np.float32)
        return np.log(found, out=found)

    def unread(self, n: int) -> None:
        """Forget the last tokens, at most `AHEAD`."""
        del self.states[len(self.states) - n :]


class Mixed:
    """A network's reader with counts mixed in."""

    def __init__(self, reader: Any, model: Ngram, share: float) -> None:
        """`reader` may have `room` and `unread`; then the counts guess ahead."""
        self.reader, self.counting = reader, Counting(model)
        self.own, self.share = np.float32(1 - share), np.float32(share)

    def _mix(self, logits: Array, counted: Array) -> Array:
        p = np.exp(logits - np.maximum.reduce(logits, -1, keepdims=True))
        p *= self.own / np.add.reduce(p, -1, keepdims=True)
        p += self.share * np.exp(counted)
        mixed: Array = np.log(p, out=p)
        return mixed

    def read(self, ids: Sequence[int], last: int = 1) -> Array:
        """Read tokens; log probabilities of what follows each of the `last` ones. [last, V]"""
        return self._mix(self.reader.read(ids, last), self.counting.read(ids, last))

    def read_ahead(self, ids: Sequence[int], draw: Draw, at: int) -> tuple[list[int], Array]:
        """Read tokens and what the counts think will follow; those guesses, and log probabilities [g + 1, V]."""
        most = min(AHEAD, self.reader.room(len(ids))) if hasattr(self.reader, "room") else 0
        counted = [self.counting.read(ids)]
        guesses: list[int] = []
        while len(guesses) < most:
            guesses.append(draw(counted[-1][0], at + len(guesses)))
            counted.append(self.counting.read(guesses[-1:]))
        logits = self.reader.read([*ids, *guesses], len(guesses) + 1)
        return guesses, self._mix(logits, np.concatenate(counted))

    def unread(self, n: int) -> None:
        """Forget the last `n` guesses."""
        self.counting.unread(n)
        self.reader.unread(n)
