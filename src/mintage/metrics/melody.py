"""Steps from note to note and lengths of notes, beside held-out tunes: what the two histograms share.

Steps are taken in every voice from highest note to highest note, so keys do not count. It does not see phrases.
"""

from __future__ import annotations

import numpy as np
import torch

from mintage.core.spec import Evidence, Score, Spec
from mintage.core.words import say
from mintage.metrics.pitchclass import LEAST, overlap, tunes
from mintage.nn.traits import is_music, lengths, steps


class Metric:
    """Interval overlap and duration overlap."""

    question = "real"

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """Tunes only."""
        if not is_music(target):
            return say("steps are counted in tunes")
        return None if n >= LEAST else say("steps need at least {least} held-out tunes, not {n}", least=LEAST, n=n)

    def __call__(self, evidence: Evidence) -> list[Score]:
        """Two scores."""
        made, real = tunes(evidence, evidence.made), tunes(evidence, evidence.test)
        scores = []
        for name, count in (("interval overlap", steps), ("duration overlap", lengths)):
            found, wanted = (torch.from_numpy(np.stack([count(tune) for tune in side])) for side in (made, real))
            value = overlap(found, wanted, evidence.noise.fork("melody", name))
            scores.append(Score(name, *value, "higher", note=f"n = {len(made)}"))
        return scores
