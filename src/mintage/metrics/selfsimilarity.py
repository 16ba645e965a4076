"""Variety: how far made items lie from each other, as a share of how far real ones do. 1 is as varied as the data.

Two sizes of sameness: the mean distance over all pairs (everything alike) and the mean distance to the nearest other
item (a few things made again and again), in the trained view at equal n. It does not ask whether the variety is any
good: noise is varied, and precision tells that.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mintage.core.spec import Evidence, Score, Spec
from mintage.core.words import say
from mintage.nn.intervals import spread, weights
from mintage.nn.neighbours import Neighbours
from mintage.nn.noise import Noise

LEAST = 10
MOST = 2_000


def apart(x: Tensor) -> tuple[Tensor, Tensor]:
    """Each row's mean distance to all others and to its nearest other: [N], [N]."""
    pairs = torch.cdist(x, x).sum(1) / (len(x) - 1)
    return pairs, Neighbours(x).search(x, 1, among_itself=True)[0][:, 0]


def ratio(made: Tensor, real: Tensor, noise: Noise) -> tuple[float, float, float]:
    """Mean of made over mean of real, with a bootstrap interval."""
    wm, wr = weights(len(made), noise.fork("made")), weights(len(real), noise.fork("real"))
    draws = (wm @ made.double() / len(made)) / (wr @ real.double() / len(real)).clamp(min=1e-9)
    return spread(float(made.mean() / real.mean().clamp(min=1e-9)), draws)


class Metric:
    """Two ratios; the items most like another made item lead ``worst_ids``."""

    question = "varied"

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """Distances among a few items are chance."""
        return None if n >= LEAST else say("variety needs at least {least} held-out items, not {n}", least=LEAST, n=n)

    def __call__(self, evidence: Evidence) -> list[Score]:
        """Variety over all pairs and among nearest neighbours."""
        n = min(len(evidence.made), len(evidence.test), MOST)
        made, real = apart(evidence.features(evidence.made[:n])), apart(evidence.features(evidence.test[:n]))
        twins = tuple(made[1].argsort()[: n // 4].tolist())
        noise = evidence.noise.fork("variety")
        return [
            Score("variety", *ratio(made[0], real[0], noise.fork("pairs")), "higher", note=f"n = {n}"),
            Score("distinctness", *ratio(made[1], real[1], noise.fork("twins")), "higher", twins, f"n = {n}"),
        ]
