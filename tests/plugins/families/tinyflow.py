"""tinyflow: a flow-matching MLP in one small file, the proof that a family is one file (Lipman et al. 2022)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mintage.core.spec import Batch, Cond, Phase, Spec, Specs
from mintage.nn.noise import Noise


@dataclass(frozen=True)
class Config:
    """Attributes:
    width: Units of the hidden layers.
    """

    width: int = 256


@dataclass(frozen=True)
class Knobs:
    """Attributes:
    steps: Euler steps.
    """

    steps: int = 20


class Model(nn.Module):
    phases = (Phase("velocity", optim="adamw"),)

    def __init__(self, target: Spec, cond: Specs, config: Config) -> None:
        super().__init__()
        self.shape, self.classes = target.shape, cond["class"].vocab if "class" in cond else 0
        size = torch.Size(self.shape).numel()
        self.embed, self.inp = nn.Embedding(self.classes + 1, config.width), nn.Linear(size + 1, config.width)
        self.mid, self.out = nn.Linear(config.width, config.width), nn.Linear(config.width, size)

    @staticmethod
    def refuse(target: Spec, cond: Specs) -> str | None:
        return None if target.kind == "grid" else "tinyflow models grids."

    def velocity(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        asked = cond.get("class", torch.full((len(x),), self.classes, device=x.device))
        h = torch.relu(self.inp(torch.cat([x, t], 1)) + self.embed(asked))
        return self.out(h + torch.relu(self.mid(h)))

    def loss(self, batch: Batch, phase: Phase, progress: float, noise: Noise) -> dict[str, Tensor]:
        x, t = batch.x.flatten(1), noise.uniform((len(batch.x), 1))
        z = noise.normal(x.shape)
        return {"mse": (self.velocity(t * x + (1 - t) * z, t, batch.cond) - (x - z)).square().mean(1)}

    def sample(self, cond: Cond, noise: Noise, knobs: Mapping[str, Any]) -> Iterator[Tensor]:
        x = noise.normal((noise.rows, torch.Size(self.shape).numel()))
        for i in range(steps := knobs.get("steps", 20)):
            x = x + self.velocity(x, torch.full((len(x), 1), i / steps), cond) / steps
        yield x.view(-1, *self.shape).clamp(-1, 1)
