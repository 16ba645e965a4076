"""The mean of a training's last snapshots, in the model's place only where held-out items prove it better.

Uniform averaging along one trajectory (Izmailov et al. 2018, 1803.05407) on top of the moving average. After a decay to
zero it often gains nothing, and then the report says so. It never averages two trainings, and it measures on the same
holdout that chose before: what it calls better is a choice, the judgement is ``evaluate``'s on test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mintage.core.spec import Score
from mintage.core.store import load_tensors, save_tensors
from mintage.core.words import say
from mintage.verbs.evaluate import better
from mintage.verbs.previews import Previewer


@dataclass(frozen=True)
class Choice:
    """What came of averaging: how many snapshots, the gain and its 95 % margin in ``measure``, and whether it was kept."""

    snapshots: int
    measure: str
    gain: float
    margin: float
    kept: bool

    def __str__(self) -> str:
        numbers: dict[str, Any] = {
            "n": self.snapshots,
            "gain": f"{self.gain:.4g}",
            "margin": f"{self.margin:.2g}",
            "measure": say(self.measure),
        }
        if self.kept:
            return say("The mean of {n} snapshots is the model: {measure} on holdout better by {gain} ± {margin}.", **numbers)
        if not self.measure:
            return say("Averaging snapshots: no gain, for there is nothing held out to measure it by.")
        return say("Averaging {n} snapshots: no gain ({measure} on holdout better by {gain} ± {margin}).", **numbers)


def keep_snapshot(folder: Path, mark: int, weights: Mapping[str, Tensor]) -> None:
    """Leave the averaged weights of a sixteenth of the training."""
    save_tensors(folder / f"average-{mark:02d}.safetensors", weights)


def mean_of(last: Mapping[str, Tensor], snapshots: Sequence[Mapping[str, Tensor]], names: set[str]) -> dict[str, Tensor]:
    """The mean over ``last`` and the snapshots of the parameters in ``names`` that they all hold; the rest as in ``last``."""
    shared = names.intersection(last, *snapshots)
    rows = {name: [last[name], *(found[name] for found in snapshots)] for name in shared}
    means = {name: sum((row.double() for row in found), start=found[0].double() * 0) / len(found) for name, found in rows.items()}
    return {name: means[name].to(value) if name in shared else value for name, value in last.items()}


def choose(model: Any, folder: Path, count: int, previewer: Previewer) -> Choice:
    """Put the mean of the last ``count`` snapshots (the last weights among them) into the model if it is proved better."""
    paths = sorted(folder.glob("average-*.safetensors"))[-count:][: count - 1]
    last = {name: value.clone() for name, value in model.state_dict().items()}
    before = previewer.measured(model)
    if not paths or before is None:
        return Choice(len(paths) + 1, "", 0.0, 0.0, kept=False)
    parameters = {name for name, _ in model.named_parameters()}
    model.load_state_dict(mean_of(last, [load_tensors(path) for path in paths], parameters))
    name, gain, margin = gained(before, previewer.measured(model))
    kept = gain > margin
    if not kept:
        model.load_state_dict(last)
    return Choice(len(paths) + 1, name, gain, margin, kept)


def gained(before: Tensor | Score, after: Tensor | Score | None) -> tuple[str, float, float]:
    """How much lower the second measurement is, with the 95 % margin; windows are compared one by one."""
    if isinstance(before, Tensor) and isinstance(after, Tensor):
        drop = (before - after).double()
        return "nats per token", float(drop.mean()), 1.96 * float(drop.std()) / math.sqrt(len(drop))
    assert isinstance(before, Score)
    assert isinstance(after, Score)
    return after.name, *better(after, before)
