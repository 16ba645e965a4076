"""Precision, recall, density and coverage: does made lie among real, and does it reach all of it?

Balls around each item that reach to its k-th neighbour stand for the two sets (Kynkäänniemi et al. 2019; density and
coverage, Naeem et al. 2020), in the trained view, with equal numbers made and real. Recall and precision depend on how
many items there are, so they are read only beside the floor. It does not see copying: a perfect memory scores 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mintage.core.spec import Evidence, Score, Spec
from mintage.core.words import say
from mintage.nn.intervals import mean, share
from mintage.nn.neighbours import Neighbours

LEAST = 20
MOST = 5_000
K = 5


def neighbours_used(n: int) -> int:
    """How many neighbours a ball reaches: five, fewer for small sets."""
    return max(1, min(K, n // 10))


def reached(made: Tensor, real: Tensor) -> dict[str, Tensor]:
    """Per item: precision and density over made [N, D], recall and coverage over real [M, D]."""
    k = neighbours_used(min(len(made), len(real)))
    there, here = Neighbours(real), Neighbours(made)
    radii = there.radii(k)
    held = there.inside(made, radii)
    return {
        "precision": (held > 0).float(),
        "recall": (here.inside(real, here.radii(k)) > 0).float(),
        "density": held.float() / k,
        "coverage": (here.search(real, 1)[0][:, 0] <= radii).float(),
    }


class Metric:
    """Four shares, each with its interval; the least typical made items first in ``worst_ids``."""

    question = "varied"

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """Neighbourhoods of a handful are noise."""
        if n >= LEAST:
            return None
        return say("precision and recall need at least {least} held-out items, not {n}", least=LEAST, n=n)

    def __call__(self, evidence: Evidence) -> list[Score]:
        """Precision, recall, density, coverage at equal n."""
        n = min(len(evidence.made), len(evidence.test), MOST)
        made, real = evidence.features(evidence.made[:n]), evidence.features(evidence.test[:n])
        found = reached(made, real)
        outside = torch.nonzero(found["precision"] == 0).flatten()
        far = Neighbours(real).search(made[outside], 1)[0][:, 0] if len(outside) else torch.empty(0)
        worst = tuple(outside[far.argsort(descending=True)].tolist())
        note = f"n = {n}, k = {neighbours_used(n)}"
        scores = []
        for name, hits in found.items():
            own = mean(hits, evidence.noise.fork("coverage")) if name == "density" else share(float(hits.sum()), n)
            scores.append(Score(name, *own, "higher", worst if name == "precision" else (), note))
        return scores
