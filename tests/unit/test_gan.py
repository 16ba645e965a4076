"""gan: the alarm and its cure on 25 Gaussians, the three games, styles, augmentation, what is held still."""

import dataclasses

import pytest
import torch

from mintage.core.errors import UsageError
from mintage.core.spec import Batch, Phase, Spec
from mintage.families.gan import LR, Config, Model
from mintage.nn.critics import conv_critic
from mintage.nn.diffaugment import augment
from mintage.nn.noise import Noise
from mintage.nn.trainer import Clock, Trainer, Training

POINT = Spec("grid", (2, 1, 1), ("channel", "height", "width"), ("x", "y"))
PICTURE = Spec("grid", (3, 32, 24), ("channel", "height", "width"), ("red", "green", "blue"))
CLASSES = Spec("tokens", vocab=3, channels=("a", "b", "c"))


def points(noise, n=128):
    """25 Gaussians on a grid (Lin et al., 1712.04086)."""
    x = (noise.integers(0, 5, (n, 2)) - 2) * 0.4 + 0.02 * noise.normal((n, 2))
    return Batch(x.clamp(-1, 1).view(n, 2, 1, 1), {}, torch.ones(n), torch.full((n,), 1))


def modes(x):
    """How many of the 25 hold at least a tenth of their share within five standard deviations of the middle."""
    x = x.flatten(1)
    cell = (x / 0.4 + 2).round().clamp(0, 4)
    near = (x - (cell - 2) * 0.4).norm(dim=1) < 0.1
    counts = torch.bincount((cell[:, 0] * 5 + cell[:, 1]).long()[near], minlength=25)
    return int((counts >= len(x) / 250).sum())


def game(config, steps=0, lr=1e-3, target=POINT, cond=None, batch=128, seed=1):
    """A trainer of a small model; ``cond`` are the condition's specs."""
    with Noise("gan").seeded():
        model = Model(target, cond or {}, config)
    return Trainer(model, Training(batch=batch, lr=lr, decay=0.5, ema=0.05, clip=10.0), Clock(max(1, steps)), seed)


SMALL = Config(generator="mlp", critic="mlp", width=16, latent=8, penalty=0.1)
STEPS = 600
MARKS = (30, 60, 120)  # a twentieth, a tenth, a fifth: where a session lets the family look; the last one decides
WIDE = dataclasses.replace(SMALL, width=32)


def watched(trainer, steps):
    """Train, look at the fixed steps on the way, and return the alarms."""
    alarms = []
    for step in range(steps):
        trainer.step(step, lambda noise: points(noise, 64))
        if step + 1 in MARKS:
            noise = Noise("watch", step)
            with torch.no_grad():
                alarms.append(trainer.model.watch(points(noise), step / STEPS, noise))
    return alarms


def drawn(trainer, n=1000, knobs=None, cond=None):
    """Samples of the averaged generator."""
    model = trainer.model
    other = Model(model.target, cond or {}, model.config)
    other.load_state_dict(trainer.averaged())
    with torch.inference_mode():
        *_, x = other.eval().sample({}, Noise.rows_of(range(n)), knobs or {})
    return x


def cure(alarm):
    """Configuration and rate of the second start."""
    change = dict(alarm.change)
    lr, loss, penalty = float(change.pop("lr")), change.pop("loss"), float(change.pop("penalty"))
    assert not change
    return dataclasses.replace(WIDE, loss=loss, penalty=penalty), lr


def test_a_planted_collapse_is_seen_at_the_fixed_step():
    early, middle, alarm = watched(game(WIDE, STEPS, lr=50 * LR), MARKS[-1])
    assert early is None
    assert middle is None
    assert alarm.reason.endswith(".")
    config, lr = cure(alarm)
    assert lr == LR
    assert watched(game(config, STEPS, lr=lr), MARKS[-1]) == [None, None, None]


def test_a_class_that_is_always_one_picture_is_seen():
    with Noise("same").seeded():
        model = Model(PICTURE, {"class": CLASSES}, Config(width=8))
    noise = Noise("batch")
    label = noise.integers(0, 3, (64,))
    batch = Batch(noise.normal((64, *PICTURE.shape)).clamp(-1, 1), {"class": label}, torch.ones(64), torch.full((64,), 24))
    with torch.no_grad():
        model.generator.enter.weight[:, : model.config.latent] = 0  # deaf to its code
        assert model.variety(batch, noise)[1] == 0
        assert "0 %" in model.watch(batch, 0.2, noise).reason


@pytest.mark.slow
def test_the_cure_restores_the_modes():
    collapsed = game(WIDE, STEPS, lr=50 * LR)
    *_, alarm = watched(collapsed, STEPS)
    assert modes(drawn(collapsed)) < 15
    config, lr = cure(alarm)
    cured = game(config, STEPS, lr=lr)
    assert not any(watched(cured, STEPS))
    assert modes(drawn(cured)) >= 23


@pytest.mark.parametrize("loss", ["r3", "wasserstein", "classic"])
def test_every_game_draws_near_to_handwriting(loss, digits):
    x, y = digits[0][:512], digits[1][:512]
    grey = Spec("grid", (1, 8, 8), ("channel", "height", "width"), ("grey",))
    names = {"class": Spec("tokens", vocab=10, channels=tuple("0123456789"))}
    trainer = game(Config(loss=loss, width=8, critic_steps=2 if loss == "wasserstein" else 1), 80, 2e-3, grey, names, 32)

    def far():
        *_, made = trainer.model.sample({"class": y}, Noise.rows_of(range(512)), {})
        a, b = made.detach().flatten(1), x.flatten(1)
        return float(2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean())

    before = far()
    for step in range(80):
        at = torch.arange(step * 32, step * 32 + 32) % 512
        trainer.step(step, lambda noise, at=at: Batch(x[at], {"class": y[at]}, torch.ones(32), torch.full((32,), 8)))
    assert far() < 0.5 * before
    assert trainer.lanes[0].done == 80
    assert trainer.lanes[1].done == 80 / trainer.model.config.critic_steps


def test_frozen_stages_stay_and_every_critic_learns():
    trainer = game(dataclasses.replace(SMALL, critics=2, freeze_critic=2), 3)
    before = trainer.state()
    for step in range(3):
        trainer.step(step, points)
    after = trainer.state()
    moved = {
        name.removeprefix("model.") for name in before if name.startswith("model.") and not torch.equal(before[name], after[name])
    }
    critics = {name for name in moved if name.startswith("critics")}
    assert not any(".stages.0." in name or ".stages.1." in name for name in critics)
    assert {name.split(".")[1] for name in critics} == {"0", "1"}
    assert any(name.startswith("generator") for name in moved)


def test_the_model_needs_no_critic_and_a_resume_does():
    trainer = game(SMALL, 4)
    for step in range(2):
        trainer.step(step, points)
    kept = trainer.averaged()
    assert not any(name.startswith(("critics", "altered")) for name in kept)
    other = game(SMALL, 4)
    other.load(trainer.state())
    for one in (trainer, other):
        for step in range(2, 4):
            one.step(step, points)
    assert all(torch.equal(a, other.state()[name]) for name, a in trainer.state().items())


def test_the_forward_difference_is_the_squared_slope():
    with Noise("slope").seeded():
        model = Model(PICTURE, {}, Config(width=8, penalty=2.0))
    noise, critic = Noise("pictures"), model.critics[0]
    x = noise.normal((64, *PICTURE.shape)).mul(0.3)
    found = torch.stack([model._bump(critic, x, {}, critic(x, {}), Noise("bump", i)).mean() for i in range(60)]).mean()
    x = x.requires_grad_()
    (slope,) = torch.autograd.grad(critic(x, {}).sum(), x)
    wanted = slope.flatten(1).square().sum(1)[[*range(8), *range(32, 40)]].view(2, 8).sum(0).mean()
    assert found.item() == pytest.approx(wanted.item(), rel=0.3)


def test_adaptive_augmentation_grows_while_the_critic_is_sure():
    with Noise("ada").seeded():
        model = Model(PICTURE, {"class": CLASSES}, Config(width=8, diffaugment="adaptive"))
    trainer = Trainer(model, Training(batch=16, lr=1e-3), Clock(100), 1)
    label = torch.arange(16) % 3
    x = torch.where(torch.arange(32)[:, None] % 2 > 0, 1.0, -1.0).expand(16, 3, 32, 24)
    for step in range(30):
        trainer.step(step, lambda noise: Batch(x, {"class": label}, torch.ones(16), torch.full((16,), 24)))
    assert 0 < model.altered <= 0.8


def test_augmentation_alters_what_it_should_and_lets_gradients_through():
    x = Noise("x").uniform((8, 3, 32, 24)).requires_grad_()
    assert torch.equal(augment(x, torch.tensor(0.0), Noise("a")), x)
    y = augment(x, torch.tensor(1.0), Noise("a"))
    assert y.shape == x.shape
    assert all(not torch.equal(a, b) for a, b in zip(x, y, strict=True))
    assert (y == 0).float().mean() > 0.1  # the hole
    y.sum().backward()
    assert (x.grad.abs().flatten(1).sum(1) > 0).all()


@pytest.mark.parametrize("generator", ["mlp", "dcgan", "style"])
def test_truncation_narrows_and_one_seed_is_one_picture(generator):
    with Noise("style").seeded():
        model = Model(PICTURE, {"class": CLASSES}, Config(generator=generator, width=8, latent=16)).eval()

    def draw(seeds, **knobs):
        with torch.inference_mode():
            *_, x = model.sample({"class": torch.zeros(len(seeds), dtype=torch.int64)}, Noise.rows_of(seeds), knobs)
        return x

    wide, narrow = draw(range(32)), draw(range(32), truncation=0.5)
    assert narrow.std(0).mean() < 0.8 * wide.std(0).mean()
    assert draw(range(32), truncation=0.0).std(0).mean() < 1e-5


def test_mixing_takes_the_layers_it_says():
    with Noise("mix").seeded():
        model = Model(PICTURE, {}, Config(generator="style", width=8, latent=16)).eval()

    def draw(**knobs):
        with torch.inference_mode():
            *_, x = model.sample({}, Noise.rows_of([3, 4, 5]), knobs)
        return x

    own, all_other = draw(), draw(mix=4, mix_from=0)
    assert torch.allclose(all_other[0], all_other[2], atol=1e-5)  # all three wear the styles of seed 4
    assert torch.allclose(all_other[1], own[1], atol=1e-5)
    assert torch.allclose(draw(mix=4, mix_from=99), own)
    part = draw(mix=4, mix_from=2)
    assert not torch.allclose(part[0], own[0], atol=1e-3)
    assert not torch.allclose(part[0], own[1], atol=1e-3)


def test_mixing_without_styles_is_refused():
    model = Model(PICTURE, {}, Config(width=8)).eval()
    with pytest.raises(UsageError, match="generator=style"):
        next(iter(model.sample({}, Noise.rows_of([1]), {"mix": 4})))


def test_a_critic_halves_until_a_few_cells_are_left():
    critic = conv_critic((3, 64, 48), {}, 8, 1)
    assert len(critic.stages) == 4  # 24, 12, 6 cells of the shorter side, then one layer over all of them
    assert critic(torch.zeros(2, 3, 64, 48), {}).shape == (2,)


def test_phases_forget_the_gradient_but_not_its_square():
    first, second = Model(POINT, {}, SMALL).phases
    assert (first.betas, second.betas) == ((0.0, 0.99), (0.0, 0.99))
    assert Phase("plain").betas == (0.9, 0.95)
