"""Column shapes: does each column alone look like the data's? 1 is the same distribution.

One minus the largest gap between the cumulative shares (Kolmogorov-Smirnov) for ordered columns, one minus half the sum of
gaps between the shares (total variation) for categories; the mean over columns, as SDMetrics reports it. It sees no
dependence at all: independent columns score as well as real ones, so nothing is decided by it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mintage.core.spec import Evidence, Score, Spec
from mintage.core.words import say
from mintage.nn.intervals import spread, weights
from mintage.nn.rows import Columns, is_table, rows

LEAST = 20
MOST = 2_000


def shapes(columns: Columns, made: Tensor, real: Tensor) -> Tensor:
    """Likeness of each column [..., C] from shares of ids [..., V]."""
    found = []
    for (low, high), ordered in zip(columns.slots, columns.ordered, strict=True):
        gap = made[..., low:high] - real[..., low:high]
        found.append(1 - (gap.cumsum(-1).abs().amax(-1) if ordered else gap.abs().sum(-1) / 2))
    return torch.stack(found, -1)


def shares(columns: Columns, ids: Tensor, weight: Tensor) -> Tensor:
    """Shares of all ids [R, V] under item weights [R, N]."""
    seen = torch.zeros(len(ids), columns.vocab, dtype=torch.float64).scatter_(1, ids, 1.0)
    return weight @ seen / weight.sum(1, keepdim=True)


class Metric:
    """The mean over columns with a bootstrap interval; the note names the worst column."""

    question = "real"

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """Only columns have shapes."""
        if not is_table(target):
            return say("column shapes are for tables")
        return None if n >= LEAST else say("column shapes need at least {least} held-out items, not {n}", least=LEAST, n=n)

    def __call__(self, evidence: Evidence) -> list[Score]:
        """One score."""
        columns, noise = Columns.of(evidence), evidence.noise.fork("shape")
        made, real = (rows(evidence, x[:MOST]) for x in (evidence.made, evidence.test))
        one = [shares(columns, x, torch.ones(1, len(x), dtype=torch.float64)) for x in (made, real)]
        each = shapes(columns, *one)[0]
        draws = [shares(columns, x, weights(len(x), noise.fork(name))) for name, x in (("made", made), ("real", real))]
        worst = int(each.argmin())
        note = say("n = {n}; worst {column}: {value}", n=len(made), column=columns.names[worst], value=f"{each[worst]:.2f}")
        return [Score("column shapes", *spread(float(each.mean()), shapes(columns, *draws).mean(1)), "higher", note=note)]
