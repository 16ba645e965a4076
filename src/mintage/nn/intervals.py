"""Intervals and exact tests for small samples: Wilson's, the bootstrap's, Fisher's.

All intervals are 95 %. The bootstrap draws from the judgement's own noise, so a report can be made again. It does not
correct for looking many times.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mintage.nn.noise import Noise

Z = 1.959964
RESAMPLES = 400


def share(hits: float, n: int) -> tuple[float, float, float]:
    """A share with Wilson's score interval (1927), honest near 0 and 1."""
    if n == 0:
        return 0.0, 0.0, 1.0
    p, z2 = hits / n, Z * Z
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return p, min(p, max(0.0, middle - half)), max(p, min(1.0, middle + half))


def spread(value: float, draws: Tensor) -> tuple[float, float, float]:
    """A value with the 2.5 and 97.5 % points of its bootstrap draws, widened so as to hold the value."""
    low, high = torch.quantile(draws.double(), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return value, min(value, low), max(value, high)


def weights(n: int, noise: Noise, resamples: int = RESAMPLES) -> Tensor:
    """How often each of n items is drawn in each bootstrap resample: float64 [resamples, n]."""
    drawn = noise.integers(0, n, (resamples, n))
    return torch.zeros(resamples, n, dtype=torch.float64).scatter_add_(1, drawn, torch.ones(drawn.shape).double())


def mean(x: Tensor, noise: Noise) -> tuple[float, float, float]:
    """The mean of values [N] with a bootstrap interval."""
    x = x.double()
    return spread(float(x.mean()), weights(len(x), noise) @ x / len(x))


def jackknife(value: float, left_out: Tensor) -> tuple[float, float, float]:
    """A value with the interval of its versions [G], each made without one of G equal parts of the items."""
    half = Z * float(((len(left_out) - 1) * left_out.double().var(correction=0)).sqrt())
    return value, value - half, value + half


def fisher(hits: int, n: int, other_hits: int, other_n: int) -> float:
    """Fisher's exact test, one-sided: how likely ``hits`` or more of ``n`` are if both groups have the same rate."""
    total, all_hits = n + other_n, hits + other_hits

    def log_choose(a: int, b: int) -> float:
        return math.lgamma(a + 1) - math.lgamma(b + 1) - math.lgamma(a - b + 1)

    whole = log_choose(total, all_hits)
    terms = range(max(hits, all_hits - other_n), min(n, all_hits) + 1)
    return min(1.0, sum(math.exp(log_choose(n, k) + log_choose(other_n, all_hits - k) - whole) for k in terms))
