"""The form of tunes: how much a bar takes up from the bars before it, bars where a voice is silent, voices' tonal distance.

None of it is better high or low: read each number beside that of held-out tunes. A bar is compared as it stands, so a
sequence on another step counts as new.
"""

from __future__ import annotations

import torch

from mintage.core.spec import Evidence, Score, Spec
from mintage.core.words import say
from mintage.metrics.pitchclass import LEAST, tunes
from mintage.nn.intervals import mean, spread, weights
from mintage.nn.traits import apart, is_music, likeness, silent


class Metric:
    """Bar self-similarity, empty bars, tonal distance between voices."""

    question = "varied"

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """Tunes only."""
        if not is_music(target):
            return say("form is looked at in tunes")
        return None if n >= LEAST else say("form needs at least {least} held-out tunes, not {n}", least=LEAST, n=n)

    def __call__(self, evidence: Evidence) -> list[Score]:
        """Up to three scores; those that no tune has are left out."""
        made, noise = tunes(evidence, evidence.made), evidence.noise.fork("form")
        scores = []
        for name, trait in (("bar self-similarity", likeness), ("tonal distance between voices", apart)):
            values = torch.tensor([trait(tune) for tune in made])
            values = values[~values.isnan()]
            if len(values):
                scores.append(Score(name, *mean(values, noise), "none", note=f"n = {len(values)}"))
        counts = torch.tensor([silent(tune) for tune in made]).double()  # [N, 2]
        drawn = weights(len(made), noise) @ counts
        empty = spread(float(counts[:, 0].sum() / counts[:, 1].sum().clamp(min=1)), drawn[:, 0] / drawn[:, 1].clamp(min=1))
        scores.append(Score("empty bars", *empty, "none", note=f"n = {len(made)}"))
        return scores
