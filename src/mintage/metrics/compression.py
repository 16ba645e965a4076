"""What an item costs as a code, and what is left of it: for models that encode and decode.

Numbers of a code are kept as one byte each, over four deviations to either side; tokens as what their vocabulary needs.
The decoded item is compared with the held-out original, and with what principal components of the train split leave of it at
as many numbers. It does not see whether what is lost matters.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mintage.core.protocols import Latent
from mintage.core.spec import RESERVED, Evidence, Score, Spec
from mintage.core.words import say
from mintage.nn.components import components
from mintage.nn.intervals import mean

ITEMS = 500
CHUNK = 64
REACH = 4.0  # deviations that a byte spans to either side
PEAK = 2.0  # from -1 to 1


def decibels(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each item [N, ...] in dB. [N]"""
    return 20 * math.log10(PEAK) - 10 * (x - y).flatten(1).square().mean(1).clamp(min=1e-9).log10()


def octets(spec: Spec) -> float:
    """Bytes of a code."""
    numbers = math.prod(spec.shape)
    return numbers * math.log2(spec.vocab - RESERVED) / 8 if spec.kind == "tokens" else float(numbers)


def again(model: Latent, x: Tensor) -> Tensor:
    """Items [N, ...] through codes as they would be kept."""
    found = []
    for part in x.split(CHUNK):  # type: ignore[no-untyped-call]
        code = model.encode(part)
        if code.is_floating_point():
            code = (code.clamp(-REACH, REACH) * (127 / REACH)).round() * (REACH / 127)
        found.append(model.decode(code))
    return torch.cat(found)


def by_components(train: Tensor, x: Tensor, count: int) -> Tensor:
    """Items [N, ...] by as many principal components of the train split, exact."""
    rows = train.flatten(1)
    middle = rows.mean(0)
    axes, _ = components(rows - middle, count)
    flat = x.flatten(1) - middle
    return (flat @ axes @ axes.T + middle).clamp(-1, 1).view_as(x)


class Metric:
    """Bytes an item, and the signal-to-noise ratio of reconstructions."""

    question = "costs"

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """Grids only: the error of a text is not a number of decibels."""
        if target.kind != "grid":
            return say("compression is measured on grids")
        return None if n >= 1 else say("compression is measured on held-out items, and there are none")

    def __call__(self, evidence: Evidence) -> list[Score]:
        """Empty for a model without codes."""
        x, model = evidence.test[:ITEMS], evidence.model
        if not isinstance(model, Latent) or not len(x):
            return []
        with torch.inference_mode():
            quality = decibels(x, again(model, x))
        size, count = octets(model.latent), math.prod(model.latent.shape)
        noise, note = evidence.noise.fork("compression"), f"n = {len(x)}"
        whole = math.prod(evidence.target.shape)
        scores = [
            Score("bytes per item", size, size, size, "lower", note=say("{n} as they are", n=whole)),
            Score("reconstruction PSNR", *mean(quality, noise), "higher", note=note),
        ]
        if model.latent.kind == "grid":
            other = decibels(x, by_components(evidence.train, x, count))
            scores.append(Score("PSNR of as many principal components", *mean(other, noise), "higher", note=note))
        return scores
