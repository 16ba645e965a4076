"""Sounds: are they as long, as loud and as bright as real ones? Agreement of three distributions, 1 where they are the same.

Each is one minus the largest gap between the two cumulative shares (Kolmogorov 1933, Smirnov 1948), so it needs no bins.
Duration is the time between the first and the last frame that is heard, loudness the mean of the loudest fifth of the
frames, brightness the middle of the mel scale weighted by level. It hears nothing else: neither words nor voices.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mintage.core.spec import Evidence, Score, Spec
from mintage.core.words import say
from mintage.nn.intervals import spread, weights
from mintage.nn.noise import Noise

LEAST = 20
HEARD = -0.8  # level of a band from which a frame is heard
LOUDEST = 0.2  # share of the frames
NAMES = {"duration": "duration agreement", "loudness": "loudness agreement", "brightness": "brightness agreement"}


def traits(x: Tensor) -> dict[str, Tensor]:
    """What is compared of log-mel grids [N, 1, mels, T] in −1…1: name → [N]."""
    frames = x.flatten(1, 2)  # [N, mels, T]
    heard = frames.amax(1) > HEARD
    places = torch.arange(heard.shape[1])
    first = torch.where(heard, places, heard.shape[1]).amin(1)
    last = torch.where(heard, places, -1).amax(1)
    level = (frames + 1).mean(1)  # [N, T]
    top = max(1, round(LOUDEST * level.shape[1]))
    shares = (frames + 1).mean(2)  # [N, mels]
    middle = (shares * torch.arange(shares.shape[1])).sum(1) / shares.sum(1).clamp(min=1e-6)
    return {
        "duration": (last - first + 1).clamp(min=0).float(),
        "loudness": level.topk(top, 1).values.mean(1),
        "brightness": middle,
    }


def agreement(made: Tensor, real: Tensor, noise: Noise) -> tuple[float, float, float]:
    """One minus the Kolmogorov-Smirnov distance of values [N] and [M], with a bootstrap interval."""
    order = torch.cat([made, real]).sort().values
    own, other = torch.searchsorted(order, made), torch.searchsorted(order, real)

    def gaps(wm: Tensor, wr: Tensor) -> Tensor:
        steps = torch.zeros(len(wm), len(order), dtype=torch.float64)
        steps.index_add_(1, own, wm / wm.sum(1, keepdim=True)).index_add_(1, other, -wr / wr.sum(1, keepdim=True))
        found: Tensor = 1 - steps.cumsum(1).abs().amax(1)
        return found.round(decimals=9)

    value = float(gaps(torch.ones(1, len(made)).double(), torch.ones(1, len(real)).double()))
    return spread(value, gaps(weights(len(made), noise.fork("made")), weights(len(real), noise.fork("real"))))


class Metric:
    """Three agreements."""

    question = "real"

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """Sounds on the mel scale, enough of them to have a distribution."""
        if target.kind != "grid" or "mel" not in target.axes:
            return say("length and loudness are asked of sounds")
        return None if n >= LEAST else say("length and loudness need at least {least} held-out items, not {n}", least=LEAST, n=n)

    def __call__(self, evidence: Evidence) -> list[Score]:
        """Duration, loudness, brightness."""
        made, real = traits(evidence.made), traits(evidence.test)
        note = f"n = {len(evidence.made)} made, {len(evidence.test)} real"
        return [
            Score(
                f"{name} agreement", *agreement(made[name], real[name], evidence.noise.fork("envelope", name)), "higher", note=note
            )
            for name in made
        ]
