"""Variety of texts: how many different three-grams of tokens there are, and how much a text repeats itself.

Both are read beside held-out text at the same number of items, cut to the same length (distinct-n, Li et al. 2016;
repetition within a text, Holtzman et al. 2020). It counts tokens and understands nothing: refrains count as repeats,
and so they do in real text.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mintage.core.spec import RESERVED, Evidence, Score, Spec
from mintage.core.words import say
from mintage.nn.intervals import jackknife, mean
from mintage.nn.noise import Noise

FOLDS = 10
SHORT, LONG = 3, 8


def grams(x: Tensor, n: int) -> Tensor:
    """A code for each n-gram of ids [B, T]; −1 where it is not all text: [B, T − n + 1]."""
    if x.shape[1] < n:
        return torch.full((len(x), 1), -1)
    pieces = x.long().unfold(1, n, 1)
    code = torch.zeros(pieces.shape[:2], dtype=torch.int64)
    for i in range(n):
        code = (code * 1_000_003 + pieces[..., i]) & ((1 << 62) - 1)
    return torch.where((pieces >= RESERVED).all(-1), code, -1)


def different(codes: Tensor) -> float:
    """Share of different codes among all."""
    used = codes[codes >= 0]
    return len(used.unique()) / max(1, len(used))  # type: ignore[no-untyped-call]


def repeated(codes: Tensor) -> Tensor:
    """For each row, the share of its codes that stood earlier in the row: [B]."""
    ordered = codes.sort(1).values
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    return twice.sum(1) / (codes >= 0).sum(1).clamp(min=1)


class Metric:
    """Distinct three-grams over all items, and the share of eight-grams repeated within one."""

    question = "varied"

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """Only for texts."""
        return None if target.kind == "tokens" and not target.slots else say("repetition is counted in texts")

    def __call__(self, evidence: Evidence) -> list[Score]:
        """Two scores at equal n and length; the most repetitive items lead ``worst_ids``."""
        n, length = min(len(evidence.made), max(1, len(evidence.test))), evidence.test.shape[1]
        made = evidence.made[:n, :length]
        fold = Noise("repetition").permutation(n) % min(FOLDS, n)
        short = grams(made, SHORT)
        left_out = torch.tensor([different(short[fold != i]) for i in range(min(FOLDS, n))])
        loops = repeated(grams(made, LONG))
        worst = tuple(loops.argsort(descending=True)[: n // 4].tolist())
        note = f"n = {n}"
        return [
            Score("distinct three-grams", *jackknife(different(short), left_out), "higher", note=note),
            Score("repeated eight-grams", *mean(loops, evidence.noise.fork("loops")), "lower", worst, note),
        ]
