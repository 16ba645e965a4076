"""Gaussians along principal components, one per group: the closed-form model of grids.

Probabilistic PCA (Tipping & Bishop 1999) around each group's mean, the number of components chosen by the likelihood
of every tenth row, kept out for that; groups too small for components of their own share those of all rows. It knows
no shape but an ellipsoid.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mintage.nn.noise import Noise
from mintage.nn.settled import Settled

OWN = 40  # rows that a group needs for components of its own
ROOM = 8_000_000  # numbers that the components of all groups may fill


def components(x: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Probabilistic PCA of centred rows ``x`` [N, D].

    Returns:
        Axes [D, q] scaled by the standard deviation that belongs to the signal, and the values [q] of the spectrum.
    """
    n, d = x.shape
    if d <= n:
        values, axes = torch.linalg.eigh(x.T @ x / n)
        values, axes = values.flip(0), axes.flip(1)
    else:
        values, left = torch.linalg.eigh(x @ x.T / n)
        values, left = values.flip(0), left.flip(1)
        axes = x.T @ left / (values.clamp(min=1e-9) * n).sqrt()
    return axes[:, :most], values[:most].clamp(min=0)


def chosen(x: Tensor, axes: Tensor, values: Tensor, total: float) -> int:
    """Number of components under which kept-out centred rows ``x`` [N, D] are likeliest; ``total`` is the variance."""
    q = torch.arange(1, len(values) + 1)
    rest = ((total - values.cumsum(0)) / (x.shape[1] - q).clamp(min=1)).clamp(min=1e-6)  # noise outside q components
    inside = (x @ axes).square()  # [N, q]
    left = x.square().sum(1, keepdim=True) - inside.cumsum(1)
    kept = (values.clamp(min=1e-6).log() + inside / values.clamp(min=1e-6)).cumsum(1)
    cost = kept + (x.shape[1] - q) * rest.log() + left / rest  # −2 log likelihood up to a constant
    return int(cost.mean(0).argmin()) + 1


class Components(Settled):
    """Means, scaled axes and how common each group is."""

    mean: Tensor  # [G, D]
    axes: Tensor  # [G or 1, D, q]
    prior: Tensor  # [G]

    def __init__(self, groups: int, most: int) -> None:
        """``most`` components at most."""
        super().__init__()
        self.groups, self.most = groups, most

    @torch.no_grad()
    def settle(self, x: Tensor, group: Tensor) -> None:
        """Fit rows x [N, D] of groups [N]; −1 is a row without group."""
        members = [x[group == g] for g in range(self.groups)]
        prior = torch.tensor([float(len(m)) for m in members])
        mean = torch.stack([m.mean(0) if len(m) else x.mean(0) for m in members])
        centred = x - torch.where((group >= 0)[:, None], mean[group.clamp(min=0)], x.mean(0))
        shared = self._scaled(centred)
        axes = [shared]
        if self.groups > 1 and self.groups * shared.numel() <= ROOM:
            axes = [self._scaled(m - mean[g]) if len(m) >= OWN else shared for g, m in enumerate(members)]
        width = max(a.shape[1] for a in axes)
        padded = torch.stack([torch.nn.functional.pad(a, (0, width - a.shape[1])) for a in axes])
        self.keep(mean=mean, axes=padded, prior=prior / prior.sum().clamp(min=1))

    def _scaled(self, x: Tensor) -> Tensor:
        """Axes [D, q] of centred rows, scaled by the signal's deviation; fewer than two rows vary in nothing."""
        if len(x) < 2:
            return x.new_zeros((x.shape[1], 1))
        out = torch.arange(len(x)) % 10 == 9
        q = 1
        if out.any():
            part = x[~out]
            q = chosen(x[out], *components(part, self.most), float(part.square().sum(1).mean()))
        axes, values = components(x, self.most)
        axes, values = axes[:, :q], values[:q]
        rest = (float(x.square().sum(1).mean()) - float(values.sum())) / max(1, x.shape[1] - q)
        return axes * (values - rest).clamp(min=0).sqrt()

    @torch.no_grad()
    def sample(self, asked: Tensor, noise: Noise) -> Tensor:
        """One draw a row, of the asked group [B], or of any by how common it is where asked is −1: [B, D]."""
        drawn = noise.fork("group").choose(self.prior.clamp(min=1e-12).log().expand(len(asked), -1))
        group = torch.where(asked >= 0, asked, drawn)
        z = noise.fork("code").normal((len(asked), self.axes.shape[2]))
        own = len(self.axes) > 1
        # One product a row: a product over rows would round differently with their number.
        made = [torch.addmv(self.mean[g], self.axes[g if own else 0], z[b]) for b, g in enumerate(group.tolist())]
        return torch.stack(made)
