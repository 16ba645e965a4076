"""The clock, the schedule and the trainer's state."""

import pytest
import torch

from mintage.core.spec import Batch, Phase
from mintage.nn.noise import Noise
from mintage.nn.trainer import Clock, Diverged, Trainer, Training


class Line(torch.nn.Module):
    """y = wx, two phases, so that entering the second can be seen."""

    phases = (Phase("first", stop=0.5, optim="adamw"), Phase("second", trains=("late",), start=0.5, optim="adamw"))

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3))
        self.late = torch.nn.Linear(3, 1)
        self.entered = []

    def enter(self, phase, ema):
        self.entered.append((phase.name, ema["weight"].clone()))

    def loss(self, batch, phase, progress, noise):
        x = batch.x + 0.01 * noise.normal(batch.x.shape)
        y = (x * self.weight).sum(1) if phase.name == "first" else self.late(x)[:, 0]
        return {"mse": (y - batch.x.sum(1)).square()}


def batch_of(noise):
    x = noise.normal((16, 3))
    return Batch(x, {}, torch.ones(16), torch.full((16,), 3))


def trained(trainer, start, stop):
    for step in range(start, stop):
        trainer.step(step, batch_of)
    return trainer


def fresh(steps=40):
    with Noise("test").seeded():
        model = Line()
    return Trainer(model, Training(lr=0.05, batch=16), Clock(steps), seed=3)


def test_clock_is_continuous_when_resolved():
    clock = Clock(100)
    clock.resolve(25, [(65, 1.0)])
    assert clock.progress(25) == pytest.approx(0.25)
    assert clock.progress(45) == pytest.approx(0.625)
    assert clock.progress(65) == 1.0
    assert clock.steps == 65
    clock.resolve(45, [(60, 0.7), (85, 1.0)])
    assert clock.progress(45) == pytest.approx(0.625)
    assert clock.progress(60) == pytest.approx(0.7)
    assert clock.progress(clock.step_at(0.9)) >= 0.9 > clock.progress(clock.step_at(0.9) - 1)


def test_a_second_phase_starts_from_the_average():
    trainer = trained(fresh(), 0, 40)
    names = [name for name, _ in trainer.model.entered]
    assert names == ["first", "second"]
    assert trainer.model.entered[1][1].abs().sum() > 0.1


@pytest.mark.parametrize("at", [0, 7, 20, 33])
def test_a_resumed_training_ends_in_the_same_bytes(at):
    whole = trained(fresh(), 0, 40).state()
    half = trained(fresh(), 0, at).state()
    other = fresh()
    other.load(half)
    again = trained(other, at, 40).state()
    assert whole.keys() == again.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, again[name]), name


def test_what_is_not_a_number_changes_no_weight():
    trainer = trained(fresh(), 0, 5)
    before = trainer.state()
    with pytest.raises(Diverged):
        trainer.step(5, lambda noise: Batch(torch.full((16, 3), float("nan")), {}, torch.ones(16), torch.full((16,), 3)))
    assert all(torch.equal(before[name], tensor) for name, tensor in trainer.state().items())


def test_training_learns():
    trainer = trained(fresh(200), 0, 100)
    assert torch.allclose(trainer.averaged()["weight"], torch.ones(3), atol=0.1)
