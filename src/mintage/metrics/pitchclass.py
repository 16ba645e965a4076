"""Which notes of the scale a set of tunes uses, beside held-out tunes: overlap of histograms, and how many a bar uses.

The overlap of two histograms is what they share: 1 is the same, 0 nothing in common (Yang & Lerch 2020 compare features of
music so). It does not see order: a tune and its reversal score alike.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mintage.core.spec import Evidence, Score, Spec
from mintage.core.words import say
from mintage.nn.intervals import mean, spread, weights
from mintage.nn.noise import Noise
from mintage.nn.traits import is_music, used
from mintage.nn.tune import classes

LEAST = 8  # held-out tunes


def overlap(made: Tensor, real: Tensor, noise: Noise) -> tuple[float, float, float]:
    """What two sets of counts [N, K] and [M, K] share as histograms, with a bootstrap over the made ones."""
    target = real.sum(0) / real.sum().clamp(min=1e-9)

    def shared(counts: Tensor) -> Tensor:
        return torch.minimum(counts / counts.sum(-1, keepdim=True).clamp(min=1e-9), target).sum(-1)

    return spread(float(shared(made.sum(0))), shared(weights(len(made), noise) @ made))


def tunes(evidence: Evidence, rows: Tensor) -> list[np.ndarray]:
    """What is made or real, as tables of notes."""
    return [media.content for media in evidence.extra["codec"].decode(rows, evidence.target)]


class Metric:
    """Pitch-class overlap, and pitch classes a bar."""

    question = "real"

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """Tunes only."""
        if not is_music(target):
            return say("pitch classes are counted in tunes")
        return None if n >= LEAST else say("pitch classes need at least {least} held-out tunes, not {n}", least=LEAST, n=n)

    def __call__(self, evidence: Evidence) -> list[Score]:
        """Two scores."""
        made, real = tunes(evidence, evidence.made), tunes(evidence, evidence.test)
        found, wanted = (torch.from_numpy(np.stack([classes(tune) for tune in side])) for side in (made, real))
        noise, note = evidence.noise.fork("pitchclass"), f"n = {len(made)}"
        each = torch.tensor([float(used(tune).mean()) for tune in made])
        return [
            Score("pitch-class overlap", *overlap(found, wanted, noise), "higher", note=note),
            Score("pitch classes a bar", *mean(each, noise), "none", note=note),
        ]
