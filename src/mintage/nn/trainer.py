"""The training loop's arithmetic: phases, schedules, averaging, clipping, autocast; one call is one step.

A training is a walk of ``progress`` from 0 to 1. ``Clock`` maps steps to progress and can be re-solved on the way
without a jump; each ``Phase`` is active in its share of that walk with its own warm-up → constant → linear decay and its
own optimiser and
average (the schedule of Hägele et al., 2405.18392). All randomness is keyed by (seed, step, phase),
so the state below plus the step number is all that a resume needs. It knows no files, no data, no media.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from mintage.core.config import SHARE, Within
from mintage.core.errors import TrainingError
from mintage.core.protocols import Enters
from mintage.core.spec import Batch, Phase
from mintage.core.words import say
from mintage.nn.ema import Ema
from mintage.nn.noise import Noise
from mintage.nn.optim import Optimiser, clip


@dataclass(frozen=True)
class Training:
    """How to train; the plan fills zeros from the family's own ``fit``.

    Attributes:
        batch: Examples a step.
        length: Tokens a window.
        lr: Learning rate of the matrices.
        weight_decay: Decay of the matrices.
        side: Learning rate of vectors and tables as a share of lr.
        ema: Half-life of the weight average as a share of a phase.
        warmup: Share of a phase that ramps up.
        decay: Share of a phase that decays to zero.
        clip: Largest gradient norm.
        repair: Share of batches that repaint, for grids.
        augment: Teach altered items too (pictures: mirrored): yes, no, or auto, where a classifier cannot tell them.
        average: Mean of so many last snapshots, if held-out items prove it better; 0 leaves it out.
        steps: Fixed number of steps; 0 = solved from the minutes.
    """

    batch: Annotated[int, Within(1, 65_536)] = 0
    length: Annotated[int, Within(8, 65_536)] = 0
    lr: Annotated[float, Within(1e-7, 1)] = 0.0
    weight_decay: Annotated[float, Within(0, 10)] = 0.0
    side: Annotated[float, Within(0, 100)] = 0.15
    ema: Annotated[float, SHARE] = 0.03
    warmup: Annotated[float, SHARE] = 0.03
    decay: Annotated[float, SHARE] = 0.5
    clip: Annotated[float, Within(1e-6, 1e6)] = 1.0
    repair: Annotated[float, SHARE] = 0.2
    augment: Literal["auto", "yes", "no"] = "auto"
    average: Annotated[int, Within(0, 16)] = 0
    steps: int = 0


class Diverged(TrainingError):
    """A loss or gradient was not finite; the weights were not touched."""


class Clock:
    """Progress 0…1 as a piecewise linear function of the step, re-solvable from any step on."""

    def __init__(self, steps: int = 1, knots: Sequence[Sequence[float]] = ()) -> None:
        """``steps`` at one pace, or ``knots`` of (step, progress) from (0, 0) to (last, 1)."""
        self._knots = [(int(s), float(p)) for s, p in knots] or [(0, 0.0), (max(1, steps), 1.0)]

    @property
    def steps(self) -> int:
        """Step at which progress reaches 1."""
        return self._knots[-1][0]

    def resolve(self, at: int, knots: Sequence[Sequence[float]]) -> None:
        """From step ``at`` on, go through other knots; what was reached stays."""
        here = self.progress(at)
        self._knots = [k for k in self._knots if k[0] < at] + [(at, here)] + [(int(s), float(p)) for s, p in knots]

    def stretches(self, step: int) -> list[tuple[int, float]]:
        """What lies ahead of ``step``, piece by piece: number of steps, progress in its middle."""
        found = []
        for (s0, p0), (s1, p1) in pairwise(self._knots):
            if s1 > step:
                p = max(p0, self.progress(step))
                found.append((s1 - max(s0, step), (p + p1) / 2))
        return found

    def progress(self, step: int) -> float:
        """Progress before ``step`` is done."""
        for (s0, p0), (s1, p1) in pairwise(self._knots):
            if step <= s1:
                return p0 + (p1 - p0) * (step - s0) / (s1 - s0)
        return 1.0

    def step_at(self, progress: float) -> int:
        """First step whose progress is at least ``progress``."""
        for (s0, p0), (s1, p1) in pairwise(self._knots):
            if progress <= p1:
                return math.ceil(s0 + (progress - p0) / max(p1 - p0, 1e-12) * (s1 - s0) - 1e-9)
        return self.steps


@dataclass
class _Lane:
    """A phase with its own parameters, optimiser and average."""

    phase: Phase
    params: list[tuple[str, nn.Parameter]]
    optimiser: Optimiser
    ema: Ema
    done: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float32))  # updates so far


def owned(model: nn.Module, phase: Phase) -> list[tuple[str, nn.Parameter]]:
    """The parameters that a phase trains."""
    return [(name, p) for name, p in model.named_parameters() if any(_within(name, part) for part in phase.trains)]


def _within(name: str, part: str) -> bool:
    """Is this parameter or buffer the part of the model, or in it? "" is all of it."""
    return part == "" or name == part or name.startswith(part + ".")


def without_scaffold(model: nn.Module, keys: Any) -> None:
    """A hook after loading: a model folder holds no scaffold, so that it is missing there is no fault."""
    parts: Sequence[str] = getattr(model, "scaffold", ())
    keys.missing_keys[:] = [key for key in keys.missing_keys if not any(_within(key, part) for part in parts)]


class Trainer:
    """Everything that changes while a model trains."""

    def __init__(
        self, model: nn.Module, training: Training, clock: Clock, seed: int, dtype: str = "float32", device: str = "cpu"
    ) -> None:
        """The model must be on ``device`` already; ``dtype`` is the autocast dtype over float32 masters."""
        self.model, self.training, self.clock, self.seed, self.device = model, training, clock, seed, device
        self.dtype = getattr(torch, dtype)
        self.salt, self.lr_factor = 0, 1.0  # changed by a rollback
        self.seconds: dict[str, float] = {}  # what each phase took in the last step
        self.lanes = [self._lane(phase) for phase in model.phases]  # type: ignore[union-attr]
        self.half_lives()

    def _lane(self, phase: Phase) -> _Lane:
        params = owned(self.model, phase)
        t = self.training
        optimiser = Optimiser(
            params, phase.optim, t.lr * phase.lr, t.weight_decay, side=t.side, betas=phase.betas, dtype=self.dtype
        )
        return _Lane(phase, params, optimiser, Ema(params))

    def half_lives(self) -> None:
        """Set the averages' half-lives from the clock; call again after it was re-solved."""
        for lane in self.lanes:
            first, last = self.clock.step_at(lane.phase.start), self.clock.step_at(lane.phase.stop)
            length = (last - first) / lane.phase.every
            lane.ema.decay = 0.5 ** (1 / max(1.0, self.training.ema * length))

    def _scale(self, local: float) -> float:
        """Warm-up, constant, linear decay at a phase's own progress."""
        rise = (local + 1e-3) / self.training.warmup if self.training.warmup else 1.0
        fall = (1 - local) / self.training.decay if self.training.decay else 1.0
        return min(1.0, rise, fall) * self.lr_factor

    def autocast(self) -> AbstractContextManager[Any]:
        """The dtype context of losses and previews."""
        return torch.autocast(self.device, self.dtype) if self.dtype != torch.float32 else nullcontext()

    def step(self, step: int, batch_of: Callable[[Noise], Batch]) -> dict[str, float]:
        """One step of every active phase; returns each loss's weighted mean and the gradient norm.

        Raises:
            Diverged: Something was not finite; no weight of that phase was changed.
        """
        progress, found = self.clock.progress(step), dict[str, float]()
        self.seconds = {}
        for lane in self.lanes:
            phase = lane.phase
            if not phase.start <= progress < phase.stop or step % phase.every:
                continue
            if not lane.done:
                self._enter(lane)
            noise = Noise("train", self.seed, step, phase.name, self.salt)
            local = (progress - phase.start) / (phase.stop - phase.start)
            begin = time.perf_counter()
            found |= self._update(lane, batch_of(noise.fork("batch")), local, noise)
            self.seconds[phase.name] = time.perf_counter() - begin
        return found

    def step_phase(self, lane: _Lane, step: int, batch_of: Callable[[Noise], Batch]) -> None:
        """One update of one phase wherever the clock stands: what a rehearsal times."""
        if not lane.done:
            self._enter(lane)
        noise = Noise("rehearsal", self.seed, step, lane.phase.name)
        self._update(lane, batch_of(noise.fork("batch")), 0.5, noise)

    def _enter(self, lane: _Lane) -> None:
        if isinstance(self.model, Enters):
            self.model.enter(lane.phase, self.averaged())
            lane.ema = Ema(lane.params)
            self.half_lives()

    def _update(self, lane: _Lane, batch: Batch, local: float, noise: Noise) -> dict[str, float]:
        names = {id(p) for _, p in lane.params}
        for p in self.model.parameters():
            p.requires_grad_(id(p) in names)
        with self.autocast():
            losses = self.model.loss(batch, lane.phase, local, noise)  # type: ignore[operator]
        weight = batch.weight / batch.weight.mean()
        means = {name: (loss.float() * weight).mean() for name, loss in losses.items()}
        total = torch.stack(list(means.values())).sum()
        lane.optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        norm = clip([p for _, p in lane.params], self.training.clip)
        if not (math.isfinite(total.item()) and math.isfinite(norm.item())):
            raise Diverged(say("Training diverged in {phase}; try -o lr with a smaller value.", phase=lane.phase.name))
        lane.optimiser.step(self._scale(local))
        lane.ema.update(int(lane.done))
        lane.done += 1
        return {f"{lane.phase.name}.{name}": value.item() for name, value in means.items()} | {
            f"{lane.phase.name}.grad": norm.item()
        }

    def averaged(self) -> dict[str, Tensor]:
        """All weights and buffers, with averages where a phase has begun, without what only training needs."""
        scaffold = tuple(getattr(self.model, "scaffold", ()))
        weights = {name: tensor.detach() for name, tensor in self.model.state_dict().items()}
        for lane in self.lanes:
            if lane.done:
                weights |= lane.ema.weights()
        return {name: tensor for name, tensor in weights.items() if not any(_within(name, part) for part in scaffold)}

    def state(self) -> dict[str, Tensor]:
        """Everything a resume needs beside the step number."""
        found = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for lane in self.lanes:
            at = lane.phase.name
            found[f"done.{at}"] = lane.done
            if lane.done:
                found |= {f"optim.{at}.{name}": tensor for name, tensor in lane.optimiser.state().items()}
                found |= {f"ema.{at}.{name}": tensor for name, tensor in lane.ema.state().items()}
        return {name: tensor.detach().clone() for name, tensor in found.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over what ``state`` gave."""

        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}

        self.model.load_state_dict(part("model."))
        for lane in self.lanes:
            at = lane.phase.name
            lane.done = state[f"done.{at}"].clone()
            if lane.done:
                lane.optimiser.load(part(f"optim.{at}."))
                lane.ema.load(part(f"ema.{at}."))
            else:  # begun after this state was saved: forget it
                lane.optimiser = self._lane(lane.phase).optimiser
                lane.ema = Ema(lane.params)
        self.half_lives()

    def trunk(self) -> int:
        """Step at which the first phase's decay begins: from here a finished run can go on."""
        if not self.lanes:
            return -1
        first = self.lanes[0].phase
        return self.clock.step_at(first.start + (first.stop - first.start) * (1 - self.training.decay))
