"""A mixture of Gaussians by group, fitted by expectation maximisation: the density that codes are drawn from.

Components have full covariances, each drawn towards the pooled one in proportion to how few rows it holds (the mode
under an inverse Wishart prior). Either every group has components of its own or all groups share them in shares of
their own; which, and how many, is chosen on kept-out rows. Dempster, Laird & Rubin 1977. It knows no shape but a
union of ellipsoids, and no group that it did not see.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mintage.nn.noise import Noise
from mintage.nn.settled import Settled

ROUNDS = 15
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128)  # components tried, in all or a group
LEAST = 12  # rows a component, on average
ROOM = 3_000_000  # numbers that all covariances together may fill
WORK = 6e9  # components x rows x covariance entries: what a round of all of them may cost
FAINT = 1e-4  # share of a row that is too small to count
RIDGE = 1e-4  # of the mean variance


@dataclass
class _Fitted:
    """Shares [G, M], means [M, K] and lower Cholesky factors [M, K, K]."""

    share: Tensor
    mean: Tensor
    scale: Tensor

    def joint(self, z: Tensor, group: Tensor, own: Tensor | None = None) -> Tensor:
        """Log density p(z, component | group) of rows z [N, K], group [N]. [N, M]

        Where components serve one group each (``own`` [M], -1 for all), the rows of the others are not looked at; rows of
        a group that none serves belong to all.
        """
        dim = z.shape[1]
        found = torch.full((len(z), len(self.mean)), -math.inf)
        inverse = torch.linalg.solve_triangular(self.scale, torch.eye(dim).expand_as(self.scale), upper=False)
        served = own.tolist() if own is not None else [-1] * len(self.mean)
        lone = ~torch.isin(group, torch.tensor(served))
        rows = {g: ((group == g) | lone).nonzero()[:, 0] if g >= 0 else slice(None) for g in set(served)}
        parts = {g: z[at] for g, at in rows.items()}
        for m, (mean, whiten, g) in enumerate(zip(self.mean, inverse, served, strict=True)):
            found[rows[g], m] = -0.5 * ((parts[g] - mean) @ whiten.T).square().sum(1) + whiten.diagonal().log().sum()
        return found - 0.5 * dim * math.log(2 * math.pi) + self.share.clamp(min=1e-30).log()[group]


def _maximised(z: Tensor, group: Tensor, groups: int, belongs: Tensor) -> _Fitted:
    """The components that rows z [N, K] which belong to them by shares [N, M] make likeliest."""
    n, dim = z.shape
    mass = belongs.sum(0) + 1e-6  # [M]
    mean = belongs.T @ z / mass[:, None]
    scatter = torch.stack([_scatter(z, mu, b) for mu, b in zip(mean, belongs.T.contiguous(), strict=True)])
    pooled = scatter.sum(0) / n
    pooled = pooled + RIDGE * pooled.diagonal().mean().clamp(min=1e-8) * torch.eye(dim)
    weight = dim + 2.0
    covariance = (scatter + weight * pooled) / (mass + weight)[:, None, None]
    share = torch.zeros(groups, belongs.shape[1]).index_add_(0, group, belongs)
    share[-1] = belongs.sum(0)  # the last group stands for none: any component by how common it is
    return _Fitted(share / share.sum(1, keepdim=True).clamp(min=1e-6), mean, torch.linalg.cholesky(covariance))


def _scatter(z: Tensor, mean: Tensor, weight: Tensor) -> Tensor:
    """Weighted sum of the outer products of rows around a mean; rows that hardly belong there are passed over. [K, K]"""
    at = (weight > FAINT).nonzero()[:, 0]
    apart = z[at] - mean
    return apart.mul(weight[at, None]).T @ apart


def _begun(z: Tensor, group: Tensor, own: Tensor, noise: Noise) -> Tensor:
    """Each row belongs to the nearest of some rows; ``own`` [M] is the group a component serves, -1 for all. [N, M]"""
    order = noise.permutation(len(z))
    centres = torch.empty(len(own), z.shape[1])
    for g in sorted(set(own.tolist())):
        rows = order[group[order] == g] if g >= 0 else order
        at = (own == g).nonzero()[:, 0]
        centres[at] = z[rows[torch.arange(len(at)) % len(rows)]]
    for _ in range(3):  # Lloyd
        far = torch.cdist(z, centres)
        far = far.masked_fill((own[None] >= 0) & (own[None] != group[:, None]) & torch.isin(group, own)[:, None], math.inf)
        nearest = far.argmin(1)
        belongs = torch.nn.functional.one_hot(nearest, len(own)).float()
        mass = belongs.sum(0)[:, None]
        centres = torch.where(mass > 0, belongs.T @ z / mass.clamp(min=1), centres)
    return belongs


def _fitted(z: Tensor, group: Tensor, groups: int, own: Tensor, noise: Noise, rounds: int) -> _Fitted:
    belongs = _begun(z, group, own, noise)
    found = _maximised(z, group, groups, belongs)
    for _ in range(rounds if len(own) > len(set(own.tolist())) else 0):  # one component each is exact at once
        found = _maximised(z, group, groups, found.joint(z, group, own).softmax(1))
    return found


class Mixture(Settled):
    """p(z | group); the group after the last stands for none."""

    share: Tensor  # [G + 1, M]
    mean: Tensor  # [M, K]
    scale: Tensor  # [M, K, K]

    def __init__(self, groups: int, dim: int) -> None:
        """A standard normal until settled."""
        super().__init__()
        self.groups = groups
        self.keep(share=torch.ones(groups + 1, 1), mean=torch.zeros(1, dim), scale=torch.eye(dim)[None])

    @torch.no_grad()
    def settle(self, z: Tensor, group: Tensor, out: Tensor, out_group: Tensor, noise: Noise) -> None:
        """Fit rows z [N, K] of groups [N]; ``out`` [H, K] chooses the number of components."""
        entries = z.shape[1] ** 2
        most = max(1, min(ROOM // entries, len(z) // LEAST, int(WORK / entries / len(z))))
        present = [g for g in range(self.groups) if (group == g).any()]
        plans = [torch.full((m,), -1) for m in COUNTS if m <= most]
        if len(present) > 1:
            plans += [torch.tensor(present).repeat_interleave(m) for m in COUNTS if m * len(present) <= most]
        best, scores = -math.inf, {True: [-math.inf], False: [-math.inf]}
        for own in plans:
            kind = scores[int(own[0]) < 0]
            if kind[-1] < max(kind):  # more of this kind has begun to lose
                continue
            found = _fitted(z, group, self.groups + 1, own, noise.fork(len(own), int(own[0])), ROUNDS)
            kind.append(float(found.joint(out, out_group).logsumexp(1).mean()))
            if kind[-1] > best:
                best = kind[-1]
                self.keep(share=found.share, mean=found.mean, scale=found.scale)

    def log_prob(self, z: Tensor, group: Tensor) -> Tensor:
        """Log density in nats of rows z [N, K] of groups [N]. [N]"""
        return _Fitted(self.share, self.mean, self.scale).joint(z, group).logsumexp(1)

    def sample(self, group: Tensor, noise: Noise, temperature: float = 1.0) -> Tensor:
        """One draw a row of groups [B]: [B, K]. ``temperature`` scales the spread within a component."""
        m = noise.fork("component").choose(self.share.clamp(min=1e-30).log()[group])
        eps = noise.fork("code").normal((len(group), self.mean.shape[1])).to(self.mean.device)
        return self.mean[m] + temperature * (self.scale[m] @ eps[:, :, None])[:, :, 0]
