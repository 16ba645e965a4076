"""What stands beside a hidden token, as counts: pairs of tokens at small distances on both sides, added to a network's logits.

The first logits are those of a naive Bayes model: log p(c), and for each known neighbour b at a distance the smoothed pointwise
information log(1 + n(b, c) / (S p(c))), which is zero for every pair that was not kept, so a row is as sparse as the counts.
One weight a distance corrects for what neighbours say twice; the network learns what is left. Pairs that occur fewer
than three times are not kept, so that no rare piece of the training text travels with a model. It does not know conditions.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from mintage.core.spec import BOS, MASK, PAD, Batch
from mintage.nn.ngram import SEEN
from mintage.nn.settled import Settled

AT = (-1, 1, -2, 2)  # where a neighbour stands from a hidden token
WEIGHT = (1.0, 1.0, 0.3, 0.3)  # learned ones suit texts half of which is hidden, and cost single blanks a tenth of the right ones
STRENGTH = 20.0  # S: how many tokens of the whole text weigh as much as what was seen beside b
BLUNT = 0.1  # added to the count of every token


class Beside(Settled):
    """Sparse rows of information by neighbour; adds nothing before it is settled."""

    prior: Tensor  # [V]

    def __init__(self, vocab: int) -> None:
        """No counts yet."""
        super().__init__()
        self.vocab = vocab

    def fit(self, batches: Iterable[Batch]) -> None:
        """Count the pairs of one pass over the train split."""
        rows = [row[: int(n)] for batch in batches for row, n in zip(batch.x.long(), batch.length, strict=True)]
        if not rows:
            return
        gap = torch.full((max(map(abs, AT)),), PAD)  # no pair reaches from one text into the next
        stream = torch.cat([piece for row in rows for piece in (row, gap)])
        counts = torch.bincount(stream, minlength=self.vocab).double()
        counts[[PAD, BOS, MASK]] = 0
        p = (counts + BLUNT) / (counts + BLUNT).sum()
        self.keep(prior=p.log().float())
        for k, at in enumerate(AT):
            far = abs(at)
            near, own = (stream[:-far], stream[far:]) if at < 0 else (stream[far:], stream[:-far])
            real = (near != PAD) & (own != PAD) & (own != BOS)
            key, n = torch.unique(near[real] * self.vocab + own[real], return_counts=True)
            key, n = key[n >= SEEN], n[n >= SEEN]
            token = key % self.vocab
            start = torch.searchsorted(key, torch.arange(self.vocab + 1) * self.vocab)
            information = (n / (STRENGTH * p[token])).log1p().float()
            self.keep(**{f"start{k}": start, f"token{k}": token.int(), f"information{k}": information})

    def add(self, logits: Tensor, seen: Tensor, rows: Tensor, places: Tensor) -> Tensor:
        """Logits [N, V] of the tokens at ``places`` [N] of rows [N] of ``seen`` [B, T], with the counts' part."""
        if "prior" not in self._buffers:
            return logits
        logits = logits + self.prior
        for k, (at, weight) in enumerate(zip(AT, WEIGHT, strict=True)):
            start, token, information = (getattr(self, f"{name}{k}") for name in ("start", "token", "information"))
            there = (places + at >= 0) & (places + at < seen.shape[1])
            near = torch.where(there, seen[rows, (places + at).clamp(0, seen.shape[1] - 1)], MASK)  # nothing follows MASK
            count = torch.where(near == MASK, 0, start[near + 1] - start[near])
            row = torch.arange(len(near), device=near.device).repeat_interleave(count)
            first = count.cumsum(0) - count
            entry = (
                start[near].repeat_interleave(count) + torch.arange(len(row), device=near.device) - first.repeat_interleave(count)
            )
            logits = logits.index_put((row, token[entry].long()), weight * information[entry], accumulate=True)
        return logits
