"""The autoencoder: codes that say something, an alarm where they do not, a density that fits, codes of both forms."""

import pytest
import torch

from mintage.core.protocols import Latent, Watches
from mintage.core.spec import Batch, Spec
from mintage.families.vae import Config, Model, divergence
from mintage.nn.mixture import Mixture
from mintage.nn.noise import Noise
from mintage.nn.trainer import Clock, Trainer, Training

SMALL = Spec("grid", (1, 8, 8), ("channel", "height", "width"))
CLASS = {"class": Spec("tokens", vocab=10)}


def batch(x, y):
    return Batch(x, {"class": y}, torch.ones(len(x)), torch.full((len(x),), x.shape[-1]))


def trained(digits, config, steps=45, lr=0.02):
    """A model after a few steps on real handwriting, with its averaged weights."""
    x, y = digits
    with Noise("vae").seeded():
        model, other = (Model(SMALL, CLASS, config) for _ in range(2))
    trainer = Trainer(model, Training(batch=128, lr=lr, repair=0), Clock(steps), seed=1)
    for step in range(steps):
        trainer.step(step, lambda noise: batch(*((part[noise.integers(0, 1500, (128,))]) for part in (x, y))))
    other.load_state_dict(trainer.averaged())
    return model, other.eval()


@pytest.fixture(scope="module")
def fitted(digits):
    x, y = digits
    _, model = trained(digits, Config(latent=16, width=16, depth=1))
    model.calibrate([batch(x[:1500], y[:1500])], [batch(x[1500:1600], y[1500:1600])])
    return model


def test_the_code_says_what_the_picture_is(fitted, digits):
    x, _ = digits
    held = x[1600:]
    assert isinstance(fitted, Latent)
    code = fitted.encode(held)
    assert code.shape == (len(held), *fitted.latent.shape) == (len(held), 16, 1, 1)
    assert 0.5 < code.std() < 1.5
    again = fitted.decode(code)
    assert (again - held).square().mean() < 0.5 * held.var(0).mean()
    assert (again.flip(0) - held).square().mean() > held.var(0).mean()


def test_samples_look_like_the_class_they_were_asked_for(fitted, digits):
    x, y = digits
    asked = torch.arange(200) % 10
    *_, made = fitted.sample({"class": asked}, Noise.rows_of(range(200)), {})
    means = torch.stack([x[y == c].mean(0) for c in range(10)])
    read = (made[:, None] - means[None]).flatten(2).norm(dim=2).argmin(1)
    assert (read == asked).float().mean() > 0.7


def test_a_price_of_100_silences_the_code_and_is_noticed(digits):
    x, y = digits
    model, _ = trained(digits, Config(latent=16, width=16, depth=1, beta=100), steps=40)
    assert isinstance(model, Watches)
    alarm = model.watch(batch(x[:128], y[:128]), 0.2, Noise("watch"))
    assert alarm is not None
    assert alarm.change["beta"] == "1"


def test_a_healthy_code_raises_no_alarm(digits):
    x, y = digits
    model, _ = trained(digits, Config(latent=16, width=16, depth=1), steps=40)
    assert model.watch(batch(x[:128], y[:128]), 0.2, Noise("watch")) is None
    assert divergence(*model.net.encode(x[:128], {})).mean(0).sum() > 3


@pytest.mark.parametrize(("net", "spatial", "form"), [("mlp", 0, (12, 1, 1)), ("conv", 4, (4, 4, 4))])
def test_codes_have_the_form_they_say(net, spatial, form):
    with Noise("vae").seeded():
        model = Model(SMALL, CLASS, Config(net=net, latent=12, spatial=spatial, width=16, depth=1))
    x = Noise("x").normal((3, 1, 8, 8)).clamp(-1, 1)
    assert model.latent.shape == form
    code = model.encode(x)
    assert code.shape == (3, *form)
    assert model.decode(code).shape == x.shape


def test_the_mixture_finds_the_groups_and_what_is_in_them():
    noise = Noise("mixture")
    group = torch.arange(1200) % 2
    side = (noise.integers(0, 2, (1200,)) * 2 - 1).float()
    z = 0.1 * noise.normal((1200, 3))
    z[:, 0] += 4 * group
    z[:, 1] += 2 * side  # two clusters in each group
    mixture = Mixture(2, 3)
    mixture.settle(z[:1000], group[:1000], z[1000:], group[1000:], Noise("fit"))
    true = 3 * (0.5 * torch.log(torch.tensor(2 * torch.pi * 0.01)) + 0.5) + torch.log(torch.tensor(2.0))
    assert abs(float(-mixture.log_prob(z[1000:], group[1000:]).mean() - true)) < 0.2
    drawn = mixture.sample(torch.tensor([0, 1] * 200), Noise.rows_of(range(400)))
    assert ((drawn[:, 0] > 2) == (torch.arange(400) % 2 == 1)).all()
    assert 120 < int((drawn[:, 1] > 0).sum()) < 280
    alone = mixture.sample(torch.tensor([2]), Noise.rows_of([5]))  # of any group
    assert alone.shape == (1, 3)
