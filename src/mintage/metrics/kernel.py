"""Kernel distance: how far the made set lies from real items, unbiased at any size (legal from 30).

The squared maximum mean discrepancy with the cubic kernel (x·y/d + 1)³ (Bińkowski et al. 2018) on features of this
data, in two views. 0 is perfect and slightly negative values are chance. The interval is a bootstrap over items of both
sets with equal items left out of the kernel sums. It does not see what the features do not see, and its size means
something only beside the floor and the sketch of the same data.
"""

from __future__ import annotations

from torch import Tensor

from mintage.core.spec import Evidence, Score, Spec
from mintage.core.words import say
from mintage.nn.intervals import spread, weights
from mintage.nn.noise import Noise

LEAST = 30
MOST = 2_000  # items of either set; more only narrow the interval


def distance(a: Tensor, b: Tensor) -> float:
    """Unbiased kernel distance between the rows of a [N, D] and b [M, D]."""
    one = a.new_ones((1, len(a))).double(), a.new_ones((1, len(b))).double()
    return float(_resampled(a, b, *one)[0])


def interval(a: Tensor, b: Tensor, noise: Noise) -> tuple[float, float, float]:
    """The distance with its 95 % interval."""
    draws = _resampled(a, b, weights(len(a), noise.fork("made")), weights(len(b), noise.fork("real")))
    return spread(distance(a, b), draws)


def _resampled(a: Tensor, b: Tensor, wa: Tensor, wb: Tensor) -> Tensor:
    """Distances under item weights [R, N] and [R, M]; a pair of the same item never counts: [R]."""
    a, b = a.double(), b.double()

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: Tensor, w: Tensor) -> Tensor:
        own = kernel(x, x).fill_diagonal_(0)
        return ((w @ own) * w).sum(1) / (w.sum(1) ** 2 - (w * w).sum(1))

    across = ((wa @ kernel(a, b)) * wb).sum(1) / (wa.sum(1) * wb.sum(1))
    return within(a, wa) + within(b, wb) - 2 * across


class Metric:
    """Distance of made from test items, in the trained view and in the view without weights."""

    question = "real"

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """Too few items say nothing."""
        if n >= LEAST:
            return None
        return say("kernel distance needs at least {least} held-out items, not {n}", least=LEAST, n=n)

    def __call__(self, evidence: Evidence) -> list[Score]:
        """One score a view."""
        scores = []
        for view, name in ((1, "kernel distance"), (2, "kernel distance (plain view)")):
            made = evidence.features(evidence.made[:MOST], view=view)
            real = evidence.features(evidence.test[:MOST], view=view)
            value, low, high = interval(made, real, evidence.noise.fork("kernel", view))
            scores.append(Score(name, value, low, high, "lower", note=f"n = {len(made)} made, {len(real)} real"))
        return scores
