"""Muon's directions are orthogonal, AdamW is torch's, and both go on bit for bit from their state."""

import pytest
import torch

from mintage.nn.ema import Ema
from mintage.nn.noise import Noise
from mintage.nn.optim import Optimiser, clip, orthogonalise


def params():
    noise = Noise("p")
    shapes = {"a.weight": (6, 9), "b.weight": (9, 6), "conv.weight": (4, 3, 3, 3), "bias": (7,), "embed.weight": (10, 4)}
    return {name: torch.nn.Parameter(noise.fork(name).normal(shape)) for name, shape in shapes.items()}


def with_grads(found, step):
    for name, p in found.items():
        p.grad = Noise("g", step, name).normal(p.shape)


def test_orthogonalise():
    x = Noise("m").normal((3, 8, 20))
    y = orthogonalise(x)
    values = torch.linalg.svdvals(y)
    assert 0.8 < values.min() <= values.max() < 1.2


def test_adamw_is_torchs():
    ours, theirs = params(), params()
    mine = Optimiser(ours.items(), kind="adamw", lr=0.01, weight_decay=0.0, betas=(0.9, 0.95), eps=1e-10)
    other = torch.optim.AdamW(theirs.values(), lr=0.01, weight_decay=0.0, betas=(0.9, 0.95), eps=1e-10)
    for step in range(5):
        with_grads(ours, step)
        with_grads(theirs, step)
        mine.step(1.0)
        other.step()
    for name in ours:
        assert torch.allclose(ours[name], theirs[name], atol=1e-6), name


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_state_goes_on_bit_for_bit(kind):
    whole, half = params(), params()
    first, second = (Optimiser(p.items(), kind=kind, lr=0.02, weight_decay=0.1) for p in (whole, half))
    for step in range(6):
        with_grads(whole, step)
        first.step(0.5)
        if step < 3:
            with_grads(half, step)
            second.step(0.5)
    third = Optimiser(half.items(), kind=kind, lr=0.02, weight_decay=0.1)
    third.load(second.state())
    for step in range(3, 6):
        with_grads(half, step)
        third.step(0.5)
    for name in whole:
        assert torch.equal(whole[name], half[name]), name


def test_clip():
    found = params()
    with_grads(found, 0)
    before = torch.cat([p.grad.flatten() for p in found.values()]).norm()
    assert torch.allclose(clip(found.values(), 1.0), before)
    assert torch.cat([p.grad.flatten() for p in found.values()]).norm() <= 1.0 + 1e-5


def test_the_average_forgets_the_start():
    p = torch.nn.Parameter(torch.full((3,), 100.0))
    ema = Ema([("p", p)], half_life=10)
    for step in range(200):
        with torch.no_grad():
            p.fill_(1.0)
        ema.update(step)
    assert torch.allclose(ema.weights()["p"], torch.ones(3), atol=1e-3)
