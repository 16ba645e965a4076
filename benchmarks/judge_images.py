"""Judge made pictures from outside: a small classifier, Fréchet and kernel distance, precision and recall, labels.

The classifier is trained here, on real labelled pictures only, and shares no code with the library. Every number is
printed beside what real held-out pictures score at the same n. Kynkäänniemi et al. 2019 (precision and recall),
Bińkowski et al. 2018 (kernel distance, unbiased). It knows nothing about copying; distances are comparable only within
one judge.

    python benchmarks/judge_images.py train.npz test.npz made.npz    # x uint8 [N, H, W(, C)], y [N]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

Array = NDArray[np.float64]
Pictures = NDArray[np.uint8]


class Classifier(nn.Module):
    """Three stages of 3 x 3 convolutions; the layer before the logits is the feature space."""

    def __init__(self, channels: int, classes: int, width: int = 32, dim: int = 64) -> None:
        super().__init__()
        sizes = [channels, width, 2 * width, 2 * width, 4 * width]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in sizes[1:])
        self.hidden = nn.Linear(4 * width * 4, dim)
        self.head = nn.Linear(dim, classes)

    def features(self, x: Tensor) -> Tensor:  # [B, C, H, W] in -1..1 -> [B, D]
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = F.relu(norm(conv(x)))
            if i in (0, 2) and min(x.shape[-2:]) >= 4:
                x = F.max_pool2d(x, 2)
        return F.relu(self.hidden(F.adaptive_avg_pool2d(x, 2).flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.dropout(self.features(x), 0.2, self.training))


def to_tensor(x: Pictures) -> Tensor:
    """Bytes [N, H, W(, C)] as floats [N, C, H, W] in -1..1."""
    x = x[..., None] if x.ndim == 3 else x
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))).float().div(127.5).sub(1)


def fit(x: Pictures, y: NDArray[np.int64], steps: int = 1500, batch: int = 128, seed: int = 0) -> Classifier:
    """Train the judge on real pictures, as they are."""
    torch.manual_seed(seed)
    data, labels = to_tensor(x), torch.from_numpy(y).long()
    net = Classifier(data.shape[1], int(labels.max()) + 1).to(memory_format=torch.channels_last)
    optim = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optim, 3e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(data), (batch,))
        loss = F.cross_entropy(net(data[rows]), labels[rows])
        optim.zero_grad()
        loss.backward()
        optim.step()
        rate.step()
    return net.eval()


@torch.no_grad()
def look(net: Classifier, x: Pictures) -> tuple[Array, NDArray[np.int64]]:
    """Features [N, D] in float64 and the labels that the judge reads [N]."""
    feats = torch.cat([net.features(part) for part in to_tensor(x).split(500)])
    return feats.double().numpy(), net.head(feats).argmax(1).numpy()


def frechet(a: Array, b: Array) -> float:
    """Exact Fréchet distance of two Gaussians; tr sqrt(SaSb) is the nuclear norm of root(Sa) root(Sb)."""

    def root(s: Array) -> Array:
        values, vectors = np.linalg.eigh(s)
        return np.asarray(vectors * np.sqrt(values.clip(0)) @ vectors.T)

    sa, sb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    cross = np.linalg.svd(root(sa) @ root(sb), compute_uv=False).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(sa) + np.trace(sb) - 2 * cross)


def kernel(a: Array, b: Array) -> float:
    """Unbiased squared MMD with the kernel (x.y / d + 1)^3; may be slightly negative."""
    kaa, kbb, kab = ((p @ q.T / a.shape[1] + 1) ** 3 for p, q in ((a, a), (b, b), (a, b)))
    n, m = len(a), len(b)
    within = (kaa.sum() - np.trace(kaa)) / (n * (n - 1)) + (kbb.sum() - np.trace(kbb)) / (m * (m - 1))
    return float(within - 2 * kab.mean())


def kernel_interval(a: Array, b: Array, subsets: int = 50, size: int = 1000, seed: int = 0) -> tuple[float, float]:
    """Mean over random subsets and its 95 % half-width."""
    rng, size = np.random.default_rng(seed), min(size, len(a), len(b))
    draws = [kernel(a[rng.choice(len(a), size, False)], b[rng.choice(len(b), size, False)]) for _ in range(subsets)]
    return float(np.mean(draws)), float(1.96 * np.std(draws) / np.sqrt(subsets))


def _inside(points: Array, centres: Array, k: int) -> float:
    """Share of points that lie in the k-neighbour ball of at least one centre."""
    p, c = torch.from_numpy(points).float(), torch.from_numpy(centres).float()
    radius = torch.cat([torch.cdist(part, c).kthvalue(k + 1, dim=1).values for part in c.split(1000)])
    hits = [(torch.cdist(part, c) <= radius).any(1) for part in p.split(1000)]
    return float(torch.cat(hits).float().mean())


@dataclass(frozen=True)
class Verdict:
    """What one set of pictures scores against the held-out real ones."""

    n: int
    frechet: float
    kernel: float
    kernel_error: float
    precision: float
    recall: float
    as_asked: float


def judge(net: Classifier, x: Pictures, y: NDArray[np.int64], real: Pictures, k: int = 5) -> Verdict:
    """Score pictures x asked for as y against real held-out pictures."""
    (a, read), (b, _) = look(net, x), look(net, real)
    mean, error = kernel_interval(a, b)
    return Verdict(
        n=len(a),
        frechet=frechet(a, b),
        kernel=mean,
        kernel_error=error,
        precision=_inside(a, b, k),
        recall=_inside(b, a, k),
        as_asked=float((read == y).mean()),
    )


def balanced(y: NDArray[np.int64], n: int, seed: int = 0) -> NDArray[np.int64]:
    """Indices of n items, the same number of each class where there are enough."""
    rng, classes = np.random.default_rng(seed), np.unique(y)
    picks = [rng.permutation(np.flatnonzero(y == c))[: -(-n // len(classes))] for c in classes]
    return np.concatenate(picks)[:n]


def main() -> None:
    """Print the made pictures' scores beside those of as many real training pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for name in ("train", "test", "made"):
        parser.add_argument(name, help="npz with x (uint8 pictures) and y (labels)")
    parser.add_argument("--steps", type=int, default=1500)
    args = parser.parse_args()
    train, test, made = (np.load(path) for path in (args.train, args.test, args.made))
    net = fit(train["x"], train["y"], args.steps)
    rows = balanced(train["y"], len(made["x"]))
    scores = {
        "real": asdict(judge(net, train["x"][rows], train["y"][rows], test["x"])),
        "made": asdict(judge(net, made["x"], made["y"], test["x"])),
    }
    print(json.dumps(scores, indent=2))


if __name__ == "__main__":
    main()
