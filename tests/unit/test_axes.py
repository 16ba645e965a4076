"""Rows, pictures of any shape and clips: what the networks share, and that families keep their promises on each."""

import pytest
import torch
from torch import nn

from mintage.core import registry
from mintage.core.errors import UsageError
from mintage.core.spec import Batch, Spec
from mintage.nn.axes import Ladder, across, gather, near, scatter
from mintage.nn.diffaugment import augment
from mintage.nn.masks import random_mask
from mintage.nn.noise import Noise
from mintage.nn.optim import Optimiser
from mintage.nn.unet import UNet
from mintage.tasks.generate import Task

GRIDS = {
    "spectrogram": Spec("grid", (1, 32, 48), ("channel", "mel", "time"), ("mel",)),
    "roll": Spec("grid", (4, 12, 20), ("channel", "pitch", "time"), ("bass", "tenor", "alto", "soprano")),
    "odd": Spec("grid", (2, 36, 8), ("channel", "height", "width"), ("a", "b")),
    "row": Spec("grid", (7,), ("feature",), ("age", "sex", "sex", "job", "job", "job", "hours")),
    "clip": Spec("grid", (3, 6, 16, 12), ("channel", "time", "height", "width"), ("red", "green", "blue")),
}


@pytest.mark.parametrize("factors", [(2, 2, 2), (1, 4, 4), (2, 1, 3)])
def test_neighbours_go_into_channels_and_come_back(factors):
    x = torch.arange(2 * 3 * 4 * 12 * 12.0).view(2, 3, 4, 12, 12)
    y = gather(x, factors)
    t, h, w = factors
    assert y.shape == (2, 3 * t * h * w, 4 // t, 12 // h, 12 // w)
    assert torch.equal(scatter(y, factors), x)
    assert set(y[0, :, 0, 0, 0].tolist()) == set(x[0, :, :t, :h, :w].flatten().tolist())  # one block, nothing from elsewhere


def test_time_is_halved_until_few_frames_are_left():
    ladder = Ladder.of((16, 32, 48), 2, 4)
    assert ladder.factors == ((1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))
    assert ladder.grid == (4, 2, 3)
    odd = Ladder.of((5, 9, 13), 1, 3)
    x = torch.randn(2, 1, 5, 9, 13)
    assert odd.pad(x).shape[2:] == (6, 12, 16)
    assert torch.equal(odd.crop(odd.pad(x)), x)
    assert Ladder.down_to((), 4).levels == 1


def test_a_clip_is_seen_in_space_and_in_time():
    net = UNet(1, 1, (6, 8, 8), (8, 8), (1, 1), (), 1, 4)
    for p in net.parameters():
        nn.init.normal_(p, 0, 0.2, generator=torch.Generator().manual_seed(1))
    x = torch.zeros(1, 1, 6, 8, 8)
    changed = x.clone()
    changed[0, 0, 2, 3, 3] = 1
    moved = (net(changed, torch.zeros(1, 4)) - net(x, torch.zeros(1, 4))).abs()[0, 0]
    assert moved[1].max() > 0
    assert moved[3].max() > 0
    assert moved[2, 2, 5] > 0


def test_the_optimiser_moves_convolutions_over_time():
    net = nn.Sequential(near(3, 4, 4), across(3, 4, 4)).to(memory_format=torch.channels_last_3d)
    before = [p.detach().clone() for p in net.parameters()]
    optimiser = Optimiser(net.named_parameters(), lr=0.1)
    net(torch.randn(2, 4, 3, 5, 5)).square().mean().backward()
    optimiser.step()
    assert all(not torch.equal(p, q) for p, q in zip(net.parameters(), before, strict=True))


def test_all_frames_of_a_clip_are_altered_alike():
    frame = Noise("x").uniform((8, 3, 1, 16, 12))
    y = augment(frame.expand(-1, -1, 5, -1, -1), torch.tensor(1.0), Noise("a"))
    assert torch.equal(y, y[:, :, :1].expand_as(y))
    assert not torch.equal(y[:, :, :1], frame)


def test_columns_of_a_row_are_hidden_whole():
    target = GRIDS["row"]
    x = torch.rand(400, 7) * 2 - 1
    mask = random_mask(x.shape, Noise("m"), target.channels)
    assert torch.equal(mask[:, 1], mask[:, 2])
    assert torch.equal(mask[:, 3], mask[:, 5])
    assert not torch.equal(mask[:, 0], mask[:, 1])
    assert 0.3 < mask.mean() < 0.7
    task = Task(target, {})
    task.repair = 1.0
    cond = task.corrupt(x, {}, Noise("t"))
    assert cond["known"].shape == cond["mask"].shape == x.shape
    assert torch.equal(task.compose(torch.zeros_like(x), cond), torch.where(cond["mask"] > 0, x, 0.0))


SMALL = {
    "flow": {"widths": (8, 8), "depths": (1, 1), "attention": (1,), "patch": 2, "grow": 0.5, "teacher": 2},
    "gan": {"width": 8, "diffaugment": "always"},
    "vae": {"width": 8, "depth": 1, "latent": 4},
}


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("family", SMALL)
def test_every_shape_learns_by_class_and_heeds_what_is_known(family, name):
    target = GRIDS[name]
    own = {**SMALL[family]} | ({"diffaugment": "none"} if name == "row" and family == "gan" else {})
    cond = {**Task(target, {}).cond, "class": Spec("tokens", vocab=2, channels=("a", "b"))}
    with Noise("axes").seeded():
        model = registry.get("families", family)(target, cond, registry.get("families", family, "Config")(**own))
    x = Noise("x").uniform((6, *target.shape)) * 2 - 1
    mask = random_mask(x.shape, Noise("m"), target.channels)
    batch = Batch(x, {"class": torch.arange(6) % 2, "known": x * mask, "mask": mask}, torch.ones(6), torch.full((6,), 1))
    for phase in model.phases:
        if hasattr(model, "enter"):
            model.enter(phase, model.state_dict())
        losses = model.loss(batch, phase, 0.7, Noise("loss"))
        assert all(loss.shape == (6,) and loss.isfinite().all() for loss in losses.values())
        sum(loss.sum() for loss in losses.values()).backward()
    asked = batch.cond if family == "flow" else {"class": batch.cond["class"]}
    knobs = [{}, {"steps": 2, "guidance": 1.5}] if family == "flow" else [{}]
    for knob in knobs:
        *_, made = model.eval().sample(asked, Noise.rows_of(range(6)), knob)
        assert made.shape == x.shape
        assert made.isfinite().all()


def test_what_cannot_be_is_refused_with_a_sentence():
    wave = Spec("grid", (1, 400), ("channel", "time"), ("mono",))
    for family in ("flow", "gan", "vae"):
        model = registry.get("families", family)
        assert model.refuse(wave, {}).endswith("not on grids of 2 axes.")
        assert all(model.refuse(target, {}) is None for target in GRIDS.values())
    gan, config = registry.get("families", "gan"), registry.get("families", "gan", "Config")
    for name, settings in (("clip", {"generator": "style"}), ("row", {"diffaugment": "always"})):
        with pytest.raises(UsageError):
            gan(GRIDS[name], {}, config(**settings))
