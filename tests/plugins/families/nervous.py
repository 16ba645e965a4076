"""nervous: tinyflow that calls a learning rate too high when its training was planted one, and wants other settings."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from torch import Tensor, nn

from mintage.core import registry
from mintage.core.config import Within
from mintage.core.spec import Alarm, Batch, Cond, Phase, Spec, Specs
from mintage.nn.noise import Noise


@dataclass(frozen=True)
class Config:
    """Attributes:
    width: Units of the hidden layers.
    alarms: How often to raise one: the first wants half the width and a tenth of the rate.
    """

    width: Annotated[int, Within(8, 4096)] = 64
    alarms: int = 1


class Model(nn.Module):
    phases = (Phase("velocity", optim="adamw"),)

    def __init__(self, target: Spec, cond: Specs, config: Config) -> None:
        super().__init__()
        tiny, own = registry.get("families", "tinyflow"), registry.get("families", "tinyflow", "Config")
        self.config, self.net = config, tiny(target, cond, own(width=config.width))

    @staticmethod
    def refuse(target: Spec, cond: Specs) -> str | None:
        return None if target.kind == "grid" else "nervous models grids."

    def loss(self, batch: Batch, phase: Phase, progress: float, noise: Noise) -> dict[str, Tensor]:
        return self.net.loss(batch, phase, progress, noise)

    def sample(self, cond: Cond, noise: Noise, knobs: Mapping[str, Any]) -> Iterator[Tensor]:
        return self.net.sample(cond, noise, knobs)

    def watch(self, batch: Batch, progress: float, noise: Noise) -> Alarm | None:
        loss = self.loss(batch, self.phases[0], progress, noise)["mse"].mean()
        if progress < 0.1 or not self.config.alarms:
            return None
        change = {"width": str(self.config.width // 2), "alarms": str(self.config.alarms - 1), "lr": "0.001"}
        return Alarm(f"the loss stands at {loss:.3f}.", change)
