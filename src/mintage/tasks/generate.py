"""generate: from nothing to an example; the corruption destroys everything.

For grids a share of the batches keeps a random part (``known`` and ``mask``), so the same model can later repaint and
extend. Conditions that came with the data (class, caption) pass through. It does not know which medium it serves: it
acts on named axes only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mintage.core.spec import Cond, Spec, Specs
from mintage.core.words import say
from mintage.nn.masks import random_mask
from mintage.nn.noise import Noise


class Task:
    """Sampling, with repair batches on the side.

    Attributes:
        repair: Share of batches of grids that keep a known part; the plan sets it from the training's settings.
    """

    repair = 0.2

    def __init__(self, target: Spec, given: Specs) -> None:
        """``given`` are the specs of class and caption where the data has them."""
        self.target, self.given = target, dict(given)

    @staticmethod
    def refuse(target: Spec, given: Specs) -> str | None:
        """Everything can be generated."""
        return None

    @property
    def cond(self) -> Specs:
        """Class and caption as they came; for grids also what is known."""
        if self.target.kind == "tokens":
            return self.given
        return {**self.given, "known": self.target, "mask": replace(self.target, channels=("known",)).at(channel=1)}

    def corrupt(self, x: Tensor, given: Cond, noise: Noise) -> Cond:
        """A whole batch keeps a part with probability ``repair``; else nothing is known."""
        if self.target.kind == "tokens" or noise.fork("repair").uniform((1,)).item() >= self.repair:
            return given
        mask = random_mask(x.shape, noise.fork("mask"), self.target.channels)
        return {**given, "known": x * mask, "mask": mask}

    def ask(self, given: Cond, knobs: Mapping[str, Any]) -> Cond:
        """The person's own conditions, unchanged."""
        return given

    def compose(self, x: Tensor, cond: Cond) -> Tensor:
        """Known cells are put back exactly."""
        return torch.where(cond["mask"] > 0, cond["known"], x) if "mask" in cond else x

    def naive(self, cond: Cond) -> Tensor | None:
        """There is no naive answer to nothing; the sketch stands in."""
        return None

    def explain(self) -> str:
        """One sentence for ``explain``."""
        return say("Everything is destroyed, and the model learns to make it again.")
