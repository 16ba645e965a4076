"""extend: cut the tail of a text and continue it.

Families that read from left to right (gpt, rnn) do it natively, so there is no second training: the prompt is the
known part. For grids it becomes a task of its own in a later release; the repair batches of ``generate`` prepare it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mintage.core.spec import MASK, Cond, Spec, Specs
from mintage.core.words import say
from mintage.nn.noise import Noise


class Task:
    """Continue what a person began."""

    def __init__(self, target: Spec, given: Specs) -> None:
        """``given`` are the specs of class and caption where the data has them."""
        self.target, self.given = target, dict(given)

    @staticmethod
    def refuse(target: Spec, given: Specs) -> str | None:
        """Tokens only."""
        return None if target.kind == "tokens" else say("extend continues texts; for pictures choose --task generate.")

    @property
    def cond(self) -> Specs:
        """What came with the data; the prompt itself needs no extra input."""
        return self.given

    def corrupt(self, x: Tensor, given: Cond, noise: Noise) -> Cond:
        """Every left part of a text is a prompt for its right part: next-token training already covers it."""
        return given

    def ask(self, given: Cond, knobs: Mapping[str, Any]) -> Cond:
        """Needs a prompt, which passes through."""
        return given

    def compose(self, x: Tensor, cond: Cond) -> Tensor:
        """The prompt is put back exactly, but for its blanks."""
        if "prompt" not in cond:
            return x
        prompt = cond["prompt"].expand(x.shape[0], -1)
        begun = torch.where(prompt == MASK, x[:, : prompt.shape[1]], prompt)
        return torch.cat([begun, x[:, prompt.shape[1] :]], 1)

    def naive(self, cond: Cond) -> Tensor | None:
        """The sketch (an n-gram) continues."""
        return None
