"""The autoencoder as a compressor and as a likelihood, beside principal components at as many numbers.

    python benchmarks/compression.py DATA --minutes 1 --codes 8 32

For each length of code: trained without classes under a clock, then on the test split: PSNR through codes of a byte a
number against PCA with exact coefficients (fitted on the same train split); nats that a code says and how many of its
numbers are used; bits per dimension (a bound for the autoencoder; for PCA a Gaussian of the same rank plus a diagonal,
uniformly dequantised).
"""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

import torch
from torch import Tensor

from mintage.core.spec import Batch
from mintage.families.vae import ACTIVE, divergence
from mintage.metrics.compression import again, by_components, decibels
from mintage.nn.components import components
from mintage.nn.noise import Noise
from mintage.verbs.dataset import Dataset, reopen
from mintage.verbs.judging import sampled
from mintage.verbs.load import load, read_recipe
from mintage.verbs.plan import Wish
from mintage.verbs.train import train

ITEMS = 2_000
TRAIN = 20_000


def gaussian_bits(train_x: Tensor, x: Tensor, rank: int) -> float:
    """Bits per dimension of test bytes under N(mean, rank-k + diagonal), both sides dequantised."""
    noise, width = Noise("dequantise"), 2 / 255
    a, b = (part.flatten(1) + width * (noise.uniform(part.flatten(1).shape) - 0.5) for part in (train_x, x))
    middle = a.mean(0)
    axes, values = components(a - middle, rank)
    rest = (a - middle) - (a - middle) @ axes @ axes.T
    diagonal = rest.square().mean(0)
    # The variance that the rank takes over is what the diagonal, averaged along its axis, does not hold already.
    signal = (values - (axes.square() * diagonal[:, None]).sum(0)).clamp(min=0)
    covariance = torch.distributions.LowRankMultivariateNormal(middle, axes * signal.sqrt(), diagonal)
    nats = -covariance.log_prob(b).mean()
    return float(nats / x[0].numel() / math.log(2) - math.log2(width))


def rate(model: Any, x: Tensor) -> dict[str, float]:
    """What the code says, and the likelihood."""
    said, bits = [], []
    for part in x.split(100):
        said.append(divergence(*model.net.encode(part, {})))
        bits.append(-model.log_prob(Batch(part, {}, torch.ones(len(part)), torch.ones(len(part)))))
    units = torch.cat(said).mean(0)
    return {
        "KL in nats": float(units.sum()),
        "active units": int((units > ACTIVE).sum()),
        "bits per dimension": float(torch.cat(bits).mean()) / x[0].numel() / math.log(2),
    }


def case(data: str, minutes: float, code: int, runs: str, options: list[str]) -> dict[str, float]:
    """Train and measure one length of code."""
    name = f"code-{code}-{minutes:g}"
    wish = Wish(data, family="vae", minutes=minutes, name=name, options=("class=none", f"latent={code}", "adversarial=0", *options))
    run = train(wish, runs=runs).run
    loaded, recipe = load(str(run)), read_recipe(run / "recipe.json")
    dataset: Dataset = reopen(recipe, loaded.codec, recipe.options)
    (train_x, _), (x, _) = sampled(dataset, "train", TRAIN), sampled(dataset, "test", ITEMS)
    with torch.inference_mode():
        found = {
            "bytes per item": float(code),
            "PSNR": float(decibels(x, again(loaded.model, x)).mean()),
            "PSNR of PCA": float(decibels(x, by_components(train_x, x, code)).mean()),
            **rate(loaded.model, x),
            "bits per dimension of PCA": gaussian_bits(train_x, x, code),
        }
    return {key: round(value, 4) for key, value in found.items()}


def main() -> None:
    """Print one row for each length of code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--codes", type=int, nargs="*", default=[8, 32])
    parser.add_argument("--runs", default="bench-runs")
    parser.add_argument("-o", dest="options", action="append", default=[])
    args = parser.parse_args()
    for code in args.codes:
        print(json.dumps({"code": code, **case(args.data, args.minutes, code, args.runs, args.options)}), flush=True)


if __name__ == "__main__":
    main()
