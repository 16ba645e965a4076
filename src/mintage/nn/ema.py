"""An exponential moving average of the weights, with a warm start.

The averaging weight of step t is max(1 - decay, 1 / (t / 3 + 1)), so that early on it averages over about the last third of the
run so far and the random start is forgotten. It does not know buffers: only the parameters that it was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


class Ema:
    """The average of named parameters; `half_life` is in steps."""

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], half_life: float = 100.0) -> None:
        """Start from a copy of the parameters as they are."""
        self.decay = 0.5 ** (1.0 / half_life)
        self._names, self._params = map(list, zip(*named, strict=True))
        self._mean = [p.detach().clone(memory_format=torch.contiguous_format) for p in self._params]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step number `step`, counted from 0."""
        torch._foreach_lerp_(self._mean, self._params, max(1 - self.decay, 1 / (step / 3 + 1)))

    def weights(self) -> Mapping[str, Tensor]:
        """The averages by parameter name, not copied."""
        return dict(zip(self._names, self._mean, strict=True))

    def state(self) -> dict[str, Tensor]:
        """The averages by parameter name, copied, for a checkpoint."""
        return {name: tensor.clone() for name, tensor in self.weights().items()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over a state that `state()` gave."""
        for name, tensor in self.weights().items():
            tensor.copy_(state[name])
