"""Modules found by closed-form work: their buffers get a shape only when they are settled, and load with it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Settled(nn.Module):
    """A module whose buffers are set by ``keep`` and come back from a state dict in whatever shape they were kept."""

    def keep(self, **tensors: Tensor) -> None:
        """Register buffers by name, or replace them."""
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.detach().contiguous())

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for key, tensor in state_dict.items():
            name = key.removeprefix(prefix)
            if key.startswith(prefix) and "." not in name and name not in self._parameters:
                self.register_buffer(name, tensor.clone())
        super()._load_from_state_dict(state_dict, prefix, *args)
