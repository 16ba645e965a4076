"""How likely each level of a byte is where a decoder says a value: a table, counted on the train split.

A distribution over all 256 levels for each bin of the decoder's values, also of those beyond the rails, where they say
how sure it is. So a likelihood in bits is a true one, of the bytes themselves, whatever the noise looks like. Few counts
are drawn towards a discretised Gaussian. It does not know neighbours.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mintage.nn.settled import Settled

LEVELS = 256
BINS = 128
REACH = 2.0  # values beyond it share the last bin
PRIOR = 8.0  # counts that the Gaussian is worth
FLAT = 0.01  # share of the uniform in it, so that nothing is impossible


class Levels(Settled):
    """Log p(level | bin of the decoder's value)."""

    table: Tensor  # [BINS, LEVELS]; empty until settled

    def __init__(self) -> None:
        """Gaussians until settled."""
        super().__init__()
        self._counts = torch.zeros(BINS * LEVELS)
        self.keep(table=torch.zeros(0))

    @staticmethod
    def _gaussian(deviation: float) -> Tensor:
        """Around each bin's middle, by the share of the curve that falls to each level. [BINS, LEVELS]"""
        width = 2 * REACH / BINS
        middle = (torch.arange(BINS) + 0.5) * width - REACH
        edges = (torch.arange(1, LEVELS) * 2 - LEVELS) / (LEVELS - 1)
        spread = max(deviation, width)
        below = torch.special.ndtr((edges[None].double() - middle[:, None]) / spread)
        ends = torch.zeros(BINS, 1)
        share = torch.diff(torch.cat([ends, below, ends + 1], 1), dim=1)
        return ((1 - FLAT) * share + FLAT / LEVELS).float()

    def count(self, said: Tensor, x: Tensor) -> None:
        """Take in what ``x`` was where ``said`` stood, both of any one shape."""
        at = self._bin(said) * LEVELS + self._level(x)
        self._counts += torch.bincount(at.flatten(), minlength=BINS * LEVELS)

    def settle(self, deviation: float) -> None:
        """Make the table of what was counted; ``deviation`` is that of the error."""
        counts = self._counts.view(BINS, LEVELS) + PRIOR * self._gaussian(deviation)
        self.keep(table=(counts / counts.sum(1, keepdim=True)).log())

    @staticmethod
    def _bin(said: Tensor) -> Tensor:
        return ((said + REACH) * (BINS / (2 * REACH))).long().clamp_(0, BINS - 1)

    @staticmethod
    def _level(x: Tensor) -> Tensor:
        return ((x + 1) * ((LEVELS - 1) / 2)).round().long().clamp_(0, LEVELS - 1)

    def log_prob(self, said: Tensor, x: Tensor, deviation: float) -> Tensor:
        """Log probability in nats of the bytes of each example [B, ...]; before counts, by the error's deviation. [B]"""
        table = self.table if len(self.table) else self._gaussian(deviation).log().to(x.device)
        at = self._bin(said) * LEVELS + self._level(x)
        return table.flatten()[at].flatten(1).sum(1)
