"""Motion distance: do made clips move as real ones do? Unbiased kernel distance on features of frame differences.

The features (``nn/motion.py``) measure how much moves, where, when and which way; no network is trained for them. Read
it beside the floor and the sketch: 0 is perfect, slightly negative is chance. A frozen clip, a shuffled one and one that
runs backwards all move wrongly. It does not see content, and it is not the Fréchet video distance of other papers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mintage.core.spec import Evidence, Score, Spec
from mintage.core.words import say
from mintage.metrics.kernel import interval
from mintage.nn.motion import features

LEAST = 10  # held-out windows; the interval says how much they are worth
MOST = 1_000
FAR = 6.0  # deviations of the training items at which a feature is cut


def scaled(x: Tensor, train: Tensor) -> Tensor:
    """Features in deviations of the training items' own, block weights kept. [N, D]"""
    centre, spread = train.mean(0), train.std(0)
    whole = spread.square().mean().sqrt()
    return ((x - centre) / (0.5 * spread + 0.5 * whole).clamp(min=1e-6)).clamp(-FAR, FAR)


class Metric:
    """One number; the clips whose motion lies farthest from the training items' lead ``worst_ids``."""

    question = "real"

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """Only clips move."""
        if not {"time", "height", "width"} <= set(target.axes):
            return say("motion is a question for clips")
        return None if n >= LEAST else say("motion needs at least {least} held-out clips, not {n}", least=LEAST, n=n)

    def __call__(self, evidence: Evidence) -> list[Score]:
        """Against the test items."""
        train = features(evidence.train[:MOST])
        made, real = (scaled(features(x[:MOST]), train) for x in (evidence.made, evidence.test))
        value, low, high = interval(made, real, evidence.noise.fork("motion"))
        worst = tuple(torch.cdist(made, scaled(train, train)).min(1).values.argsort(descending=True)[: len(made) // 4].tolist())
        note = f"n = {len(made)} made, {len(real)} real"
        return [Score("motion distance", value, low, high, "lower", worst, note)]
