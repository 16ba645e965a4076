"""Counts mixed into a network's answer: an n-gram model as buffers, and its constant share of the mixture.

Neubig & Dyer 2016 (1606.00499) mix so: the counts know the rare strings from the first second, the network the rest. It does
not know conditions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from mintage.core.spec import PAD, Batch
from mintage.nn.ngram import Ngram
from mintage.nn.settled import Settled

SHARES = tuple(i / 20 for i in range(20))  # of the counts in the mixture
PIECE = 2048  # tokens of a document that the counts read at once


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
