"""Distance to the closest record: are made rows nearer to the rows that were learned from than to rows that were not?

Gower's distance (1971): the mean over columns of the difference in rank, or 1 where categories differ. As many training as
test rows are searched; what only repeats its training is nearer to it, what has learned is as near to both, and held-out rows
stand beside. A pass is no promise of privacy: rows at a distance can still give people away (2505.01524).
"""

from __future__ import annotations

import torch
from torch import Tensor

from mintage.core.spec import Evidence, Score, Spec
from mintage.core.words import say
from mintage.nn.intervals import share, spread
from mintage.nn.rows import Columns, is_table, rows

LEAST = 30
MOST = 1_000
CHUNK = 200


def placed(columns: Columns, ids: Tensor) -> Tensor:
    """Rows as points whose sums of differences are Gower's distance. [N, D]"""
    parts = []
    for k, ((low, high), ordered) in enumerate(zip(columns.slots, columns.ordered, strict=True)):
        own = ids[:, k] - low
        parts.append(own[:, None] / max(1, high - low - 1) if ordered else torch.nn.functional.one_hot(own, high - low) / 2)
    return torch.cat([part.float() for part in parts], 1) / len(columns.names)


def nearest(made: Tensor, real: Tensor) -> Tensor:
    """Distance of each made row to the nearest real one. [N]"""
    return torch.cat([torch.cdist(part, real, p=1).amin(1) for part in torch.split(made, CHUNK)])


class Metric:
    """The median distance to training rows, and the share of made rows that are nearer to them than to as many test rows."""

    question = "its own"

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """Only for tables."""
        if not is_table(target):
            return say("the closest record is searched in tables")
        return None if n >= LEAST else say("the closest record needs at least {least} held-out items, not {n}", least=LEAST, n=n)

    def __call__(self, evidence: Evidence) -> list[Score]:
        """Two scores; the nearest first in ``worst_ids``."""
        columns, noise = Columns.of(evidence), evidence.noise.fork("closest")
        n = min(len(evidence.train), len(evidence.test), MOST)
        made, train, test = (placed(columns, rows(evidence, x[:n])) for x in (evidence.made, evidence.train, evidence.test))
        near, far = nearest(made, train), nearest(made, test)
        closer = float((near < far).sum() + 0.5 * (near == far).sum())
        drawn = near[noise.integers(0, len(near), (200, len(near)))].median(1).values
        note, middle = f"n = {len(made)} made, {n} + {n} real", float(near.median())
        return [
            Score("nearer to training than to test rows", *share(closer, len(made)), "lower", note=note),
            Score("distance to the closest record", *spread(middle, drawn), "none", tuple(near.argsort()[:8].tolist()), note),
        ]
