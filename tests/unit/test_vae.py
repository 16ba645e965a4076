"""The autoencoder: codes that say something, an alarm where they do not, a density that fits, codes of both forms."""

import pytest
import torch

from mintage.core.errors import UsageError
from mintage.core.protocols import Latent, Scores, Watches
from mintage.core.spec import RESERVED, Batch, Evidence, Spec
from mintage.families.sketch import Config as SketchConfig
from mintage.families.sketch import Model as Sketch
from mintage.families.vae import Config, Model, divergence
from mintage.metrics import compression, likelihood
from mintage.nn.mixture import Mixture
from mintage.nn.noise import Noise
from mintage.nn.quantise import Finite
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
    assert code.shape == (len(held), *fitted.latent.shape) == (len(held), 16)
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
    assert not isinstance(model, Scores), "no snapshot is chosen by a likelihood that nobody has counted yet"
    assert divergence(*model.net.encode(x[:128], {})).mean(0).sum() > 3


@pytest.mark.parametrize(("net", "spatial", "form"), [("mlp", 0, (12,)), ("conv", 4, (4, 4, 4))])
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
    lost = torch.where(torch.arange(1000) % 50 == 0, 2, group[:1000])  # rows without a class
    other = Mixture(2, 3)
    other.settle(z[:1000], lost, z[1000:], group[1000:], Noise("fit"))
    assert abs(float(-other.log_prob(z[1000:], group[1000:]).mean() - true)) < 0.2
    alone = mixture.sample(torch.tensor([2]), Noise.rows_of([5]))  # of any group
    assert alone.shape == (1, 3)


def test_the_likelihood_is_one_of_bytes_and_a_bound(fitted, digits):
    x, y = digits
    held = batch(((x[1600:] + 1) * 127.5).round() / 127.5 - 1, y[1600:])
    with torch.inference_mode():
        assert isinstance(fitted, Scores)
        bits = -fitted.log_prob(held) / (64 * 0.6931)
        one = Batch(held.x[:1], {"class": held.cond["class"][:1]}, held.weight[:1], held.length[:1])
        assert torch.allclose(-fitted.log_prob(one) / (64 * 0.6931), bits[:1], atol=0.3)  # other draws of the code
    assert 1.0 < bits.mean() < 4.1  # 17 levels: log2 17 = 4.09 says nothing of the picture
    levels = fitted.net.levels.table.exp()
    assert torch.allclose(levels.sum(1), torch.ones(len(levels)), atol=1e-4)


def test_quantised_codes_are_tokens(digits):
    x, _ = digits
    _, model = trained(digits, Config(spatial=3, quantise=(4, 3, 5), width=16, depth=1), steps=30)
    assert not isinstance(model, Scores)
    assert model.latent.kind == "tokens"
    ids = model.encode(x[1600:])
    assert ids.shape == (197, 16)
    assert RESERVED <= ids.min() <= ids.max() < RESERVED + 60 == model.latent.vocab
    assert len(ids.unique()) > 10
    again = model.decode(ids)
    assert (again - x[1600:]).square().mean() < 0.6 * x[1600:].var(0).mean()
    assert model.decode(torch.zeros(1, 16, dtype=torch.int64)).isfinite().all()  # padding decodes too
    model.calibrate([batch(x[:500], digits[1][:500])], [batch(x[500:600], digits[1][500:600])])
    *_, made = model.sample({"class": torch.arange(4)}, Noise.rows_of(range(4)), {})
    assert made.shape == (4, 1, 8, 8)


@pytest.mark.parametrize("levels", [(2,), (3, 4), (8, 5, 5, 5)])
def test_quantising_rounds_to_levels_that_tokens_name(levels):
    finite = Finite(levels)
    z = 3 * Noise("z").normal((2000, len(levels)))
    rounded = finite(z)
    assert [len(rounded[:, i].round(decimals=4).unique()) for i in range(len(levels))] == list(levels)
    assert torch.allclose(finite.values(finite.tokens(rounded)), rounded, atol=1e-5)
    every = torch.arange(finite.count)
    assert torch.equal(finite.tokens(finite.values(every)), every)
    z.requires_grad_()
    finite(z).sum().backward()
    assert (z.grad > 0).any()


def test_a_quantised_code_needs_whole_tokens():
    with pytest.raises(UsageError, match="multiple"):
        Model(SMALL, {}, Config(latent=10, quantise=(4, 4, 4)))


def test_a_critic_joins_in_and_stays_behind(digits):
    x, y = digits
    config = Config(latent=8, width=16, depth=1, adversarial=1.0)
    with Noise("vae").seeded():
        model = Model(SMALL, CLASS, config)
    trainer = Trainer(model, Training(batch=32, lr=0.02), Clock(12), seed=1)
    rows = [trainer.step(step, lambda noise: batch(x[:32], y[:32])) for step in range(12)]
    assert "code.doubt" not in rows[0]
    assert {"code.doubt", "critic.told", "critic.slope"} <= set(rows[-1])
    assert not any(name.startswith("critic") for name in trainer.averaged())
    assert not isinstance(model, Scores)
    Model(SMALL, CLASS, config).load_state_dict(trainer.averaged())  # as from a model folder


def evidence(digits, model):
    x, y = digits
    held, given = x[1600:], {"given": {"class": y[1600:]}}
    return Evidence(SMALL, held[:0], {}, x[:1500], held, held, {}, None, model, Noise("judge"), given)


def test_the_report_says_what_a_picture_costs_as_a_code(fitted, digits):
    x, _ = digits
    found = {score.name: score for score in compression.Metric()(evidence(digits, fitted))}
    assert found["bytes per item"].value == 16
    with torch.inference_mode():
        plain = float(compression.decibels(x[1600:], fitted.decode(fitted.encode(x[1600:]))).mean())
    assert plain - 1 < found["reconstruction PSNR"].value < plain + 0.1  # a byte a number costs a little
    assert 10 < found["PSNR of as many principal components"].value < 30
    assert torch.allclose(compression.by_components(x[:1500], x[1600:], 64), x[1600:], atol=1e-3)
    assert compression.Metric()(evidence(digits, None)) == []


def test_the_report_says_how_likely_held_out_pictures_are(fitted, digits):
    (score,) = likelihood.Metric()(evidence(digits, fitted))
    assert score.name == "bits per dimension"
    assert 1 < score.low < score.value < score.high < 4.1
    assert likelihood.Metric()(evidence(digits, Sketch(SMALL, {}, SketchConfig()))) == []
