"""Fréchet distance between Gaussians fitted to the features of made and real items (Heusel et al. 2017), from 200 on.

|μa − μb|² + tr(Σa + Σb) − 2 tr (ΣaΣb)^½, where the last trace is the nuclear norm of the product of the centred feature
matrices: no matrix root, float64 throughout. On this data's own features, so it compares with nothing outside this
report. It is biased upward in small sets by an amount that depends on the model (Chong & Forsyth 2020): equal n for
all, and read it beside the floor. It knows no shape beyond mean and covariance.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mintage.core.spec import Evidence, Score, Spec
from mintage.core.words import say
from mintage.nn.intervals import jackknife

LEAST = 200
MOST = 5_000
FOLDS = 10


def distance(a: Tensor, b: Tensor) -> float:
    """Fréchet distance between the rows of a [N, D] and b [M, D]."""
    a, b = a.double(), b.double()
    ma, mb = a.mean(0), b.mean(0)
    roots = [(x - m) / (len(x) - 1) ** 0.5 for x, m in ((a, ma), (b, mb))]
    halves = [torch.linalg.qr(root).R if len(root) > root.shape[1] else root for root in roots]  # RᵀR = Σ either way
    cross = torch.linalg.svdvals(halves[0] @ halves[1].T).sum()
    spread = sum(root.square().sum() for root in roots)
    return float((ma - mb).square().sum() + spread - 2 * cross)


class Metric:
    """The distance at equal n, with a jackknife interval over tenths of both sets."""

    question = "real"

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """Below 200 its bias is larger than what it measures."""
        if n >= LEAST:
            return None
        return say("Fréchet distance needs at least {least} held-out items, not {n}", least=LEAST, n=n)

    def __call__(self, evidence: Evidence) -> list[Score]:
        """One score; none where too few were made."""
        n = min(len(evidence.made), len(evidence.test), MOST)
        if n < LEAST:
            return []
        made, real = evidence.features(evidence.made[:n]), evidence.features(evidence.test[:n])
        value = distance(made, real)
        fold = evidence.noise.fork("frechet").permutation(n) % FOLDS
        left_out = torch.tensor([distance(made[fold != i], real[fold != i]) for i in range(FOLDS)])
        return [Score("Fréchet distance", *jackknife(value, left_out), "lower", note=f"n = {n}")]
