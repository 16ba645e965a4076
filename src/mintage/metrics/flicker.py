"""Frozen and flickering clips: the two ways in which made clips fail that no single frame shows.

A clip is frozen when less changes from frame to frame than in all but 2 % of the training clips, and it flickers when
more of its change is taken back at once (``nn/motion.py``: jerk) than in all but 2 % of them. So real clips score about
2 % each, a frozen frame 100 %, frames drawn each on its own nearly 100 %. It does not see motion that is smooth and wrong.
"""

from __future__ import annotations

import torch

from mintage.core.spec import Evidence, Score, Spec
from mintage.core.words import say
from mintage.nn.intervals import share
from mintage.nn.motion import energy, jerk

RARE = 0.02  # of the training clips lie beyond the limit
LEAST = 10


class Metric:
    """Two shares, each with the clips that are meant."""

    question = "real"

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """Only clips freeze, and a second difference needs three frames."""
        if not {"time", "height", "width"} <= set(target.axes) or target.size("time") < 3:
            return say("flicker is a question for clips of three frames or more")
        return None if n >= LEAST else say("flicker needs at least {least} held-out clips, not {n}", least=LEAST, n=n)

    def __call__(self, evidence: Evidence) -> list[Score]:
        """Against the training items' own limits."""
        least = energy(evidence.train).quantile(RARE)
        most = jerk(evidence.train).quantile(1 - RARE)
        scores = []
        for name, beyond in (("frozen clips", energy(evidence.made) < least), ("flickering clips", jerk(evidence.made) > most)):
            which = tuple(torch.nonzero(beyond).flatten().tolist())
            scores.append(Score(name, *share(len(which), len(beyond)), "lower", which, f"n = {len(beyond)}"))
        return scores
