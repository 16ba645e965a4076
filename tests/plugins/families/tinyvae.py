"""tinyvae: a linear autoencoder with codes, plain or quantised: the first stage of the tests (Mentzer et al. 2309.15505)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mintage.core.spec import RESERVED, Batch, Cond, Phase, Spec, Specs
from mintage.nn.noise import Noise


@dataclass(frozen=True)
class Config:
    """Attributes:
    depth: Channels of the codes.
    quantise: Codes are tokens.
    """

    depth: int = 4
    quantise: bool = False


class Model(nn.Module):
    codes: ClassVar[dict[str, dict[str, str]]] = {"grid": {}, "tokens": {"quantise": "yes"}}
    phases = (Phase("rebuild", optim="adamw"),)

    def __init__(self, target: Spec, cond: Specs, config: Config) -> None:
        super().__init__()
        channels, *size = target.shape
        grid = [length // 4 for length in size]
        self.quantise = config.quantise
        depth = 3 if config.quantise else config.depth
        self.down, self.up = nn.Conv2d(channels, depth, 4, 4), nn.ConvTranspose2d(depth, channels, 4, 4)
        self.grid = (depth, *grid)
        tokens = Spec("tokens", (grid[0] * grid[1],), ("token",), vocab=RESERVED + 5**depth)
        self.latent = tokens if config.quantise else Spec("grid", self.grid, ("channel", "height", "width"))

    @staticmethod
    def refuse(target: Spec, cond: Specs) -> str | None:
        return None if target.kind == "grid" and len(target.shape) == 3 else "tinyvae models grids of two axes."

    def _code(self, x: Tensor) -> Tensor:
        z = self.down(x)
        if not self.quantise:
            return z
        z = 2 * torch.tanh(z)
        return z + (z.round() - z).detach()  # five levels

    def loss(self, batch: Batch, phase: Phase, progress: float, noise: Noise) -> dict[str, Tensor]:
        return {"mse": F.mse_loss(self.up(self._code(batch.x)), batch.x, reduction="none").flatten(1).mean(1)}

    def encode(self, x: Tensor) -> Tensor:
        z = self._code(x)
        if not self.quantise:
            return z
        places = torch.tensor([1, 5, 25])[:, None, None]
        return RESERVED + ((z.round().long() + 2) * places).sum(1).flatten(1)

    def decode(self, z: Tensor) -> Tensor:
        if self.quantise:
            ids = (z - RESERVED).view(-1, 1, *self.grid[1:])
            z = (ids // torch.tensor([1, 5, 25])[:, None, None] % 5 - 2).float()
        return self.up(z).clamp(-1, 1)

    def sample(self, cond: Cond, noise: Noise, knobs: Mapping[str, Any]) -> Iterator[Tensor]:
        z = noise.normal((noise.rows, *self.grid))
        yield self.up(z.round().clamp(-2, 2) if self.quantise else z).clamp(-1, 1)
