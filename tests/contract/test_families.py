"""The contract of a family, for every family on every kind of target (also those in MINTAGE_PLUGINS).

Shapes, determinism, a sample alone equals itself among others, refusals with a reason, save and load to identical
content, training lowers the loss (of an adversarial family, whose losses are moves in a game: it brings what it makes
nearer to the data), the same loss for the same noise.
"""

import dataclasses
from pathlib import Path

import pytest
import torch

from mintage.core import registry
from mintage.core.spec import Batch, Spec
from mintage.nn.noise import Noise
from mintage.nn.trainer import Clock, Trainer, Training

TARGETS = {
    "grey": (Spec("grid", (1, 8, 8), ("channel", "height", "width"), ("grey",)), ("class",)),
    "colour": (Spec("grid", (3, 16, 12), ("channel", "height", "width"), ("red", "green", "blue")), ("caption",)),
    "plain": (Spec("grid", (1, 12, 12), ("channel", "height", "width"), ("grey",)), ()),
    "row": (Spec("grid", (16,), ("feature",), tuple("abcdefghijkllmmm")), ("class",)),
    "clip": (Spec("grid", (1, 3, 8, 8), ("channel", "time", "height", "width"), ("grey",)), ("class",)),
    "text": (Spec("tokens", (24,), ("token",), vocab=40), ()),
    "poem": (Spec("tokens", (24,), ("token",), vocab=40), ("class",)),
}
CONDS = {
    "class": Spec("tokens", vocab=3, channels=("a", "b", "c")),
    "caption": Spec("tokens", (6,), ("token",), vocab=30),
}
ROWS = 8


@pytest.fixture(autouse=True)
def _plugins(monkeypatch):
    monkeypatch.setenv("MINTAGE_PLUGINS", str(Path(__file__).parents[1] / "plugins"))


def specs(name):
    target, given = TARGETS[name]
    cond = {key: CONDS[key] for key in given}
    if target.kind == "grid":
        cond |= {"known": target, "mask": dataclasses.replace(target, channels=("known",)).at(channel=1)}
    return target, cond


def data(name, noise, n=32):
    """Examples with something to learn: a bright corner or run of numbers by class, or a repeating run of ids."""
    target, given = TARGETS[name]
    label = noise.integers(0, 3, (n,))
    cond = {"class": label, "caption": noise.integers(0, 30, (n, 6))}
    if target.kind == "grid":
        x = 0.1 * noise.normal((n, *target.shape))
        for b, k in enumerate(label.tolist()):
            if x.ndim == 2:
                x[b, 4 * k : 4 + 4 * k] += 0.8
            else:
                x[b, ..., 4 * (k // 2) : 4 + 4 * (k // 2), 4 * (k % 2) : 4 + 4 * (k % 2)] += 0.8
        x = x.clamp(-1, 1)
    else:
        x = 5 + (torch.arange(24) + 7 * label[:, None]) % 30
        x[:, 0], x[:, -1] = 1, 2
    return Batch(x, {key: cond[key] for key in given}, torch.ones(n), torch.full((n,), x.shape[-1]))


def asked(name, rows=ROWS):
    _, given = TARGETS[name]
    every = {"class": torch.arange(rows) % 3, "caption": torch.arange(6).expand(rows, -1) + 1}
    return {key: every[key] for key in given}


def build(family, name):
    target, cond = specs(name)
    model_class = registry.get("families", family)
    if model_class.refuse(target, cond):
        pytest.skip(f"{family} refuses {name} (checked in its own test)")
    config_class = registry.get("families", family, "Config")
    small = {"width": 16 if name == "clip" else 32, "depth": 1, "layers": 1, "dim": 32, "heads": 2}
    fields = {f.name: f for f in dataclasses.fields(config_class)}
    config = config_class(**{k: v for k, v in small.items() if k in fields and isinstance(fields[k].default, int)})
    with Noise("contract").seeded():
        return model_class(target, cond, config)


def fitted(family, name, steps=12):
    """A model after a few steps (or settled), and its first and last losses."""
    model = build(family, name)
    if not model.phases:
        model.settle(data(name, Noise("data", i)) for i in range(4))
        return model.eval(), []
    lr = 2e-3 if getattr(model, "adversarial", False) else 0.01
    trainer = Trainer(model, Training(batch=32, lr=lr, decay=0.2), Clock(steps), seed=1)
    losses = [trainer.step(i, lambda noise: data(name, noise)) for i in range(steps)]
    other = build(family, name)
    other.load_state_dict(trainer.averaged())
    return other.eval(), losses


@torch.inference_mode()
def drawn(model, name, seeds):
    for x in model.sample(asked(name, len(seeds)), Noise.rows_of(seeds), {}):
        last = x
    return last


PAIRS = [(family, name) for family in [*registry.names("families"), "tinyflow"] for name in TARGETS]


@pytest.mark.parametrize(("family", "name"), PAIRS)
def test_contract(family, name):
    model, losses = fitted(family, name)
    target, _ = specs(name)
    seeds = list(range(ROWS))
    x = drawn(model, name, seeds)
    if target.kind == "grid":
        assert x.shape == (ROWS, *target.shape)
        assert x.dtype == torch.float32
        assert x.abs().max() <= 1.0
    else:
        assert x.shape[0] == ROWS
        assert x.dtype == torch.int64
        assert 0 <= x.min() <= x.max() < target.vocab
    assert torch.isfinite(x.float()).all()
    assert torch.equal(x, drawn(model, name, seeds)), "the same seeds must give the same samples"
    assert len({tuple(row.flatten().tolist()) for row in x}) > 1, "different seeds must give different samples"

    copy = build(family, name)
    copy.load_state_dict({key: value.clone() for key, value in model.state_dict().items()})
    assert torch.equal(x, drawn(copy.eval(), name, seeds)), "save and load must not change a sample"
    for row in losses:
        assert all(value == value for value in row.values())


@pytest.mark.parametrize(("family", "name"), PAIRS)
def test_a_sample_does_not_depend_on_its_neighbours(family, name):
    model, _ = fitted(family, name, steps=2)
    first = drawn(model, name, [100 + 3 * i for i in range(ROWS)])
    other = drawn(model, name, [100] + [7000 + 3 * i for i in range(1, ROWS)])
    length = min(first.shape[1], other.shape[1])
    a, b = (first[0, :length], other[0, :length]) if first.dtype == torch.int64 else (first[0], other[0])
    assert torch.equal(a, b)


def energy(made, real):
    """Energy distance of two sets of items: 0 only where they are the same in law (Székely & Rizzo, 2013)."""
    a, b = made.flatten(1), real.flatten(1)
    return float(2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean())


def far(model, name):
    """Energy distance of as many samples as there are examples, each asked for as an example is."""
    real = data(name, Noise("fixed"))
    with torch.inference_mode():
        *_, made = model.sample(real.cond, Noise.rows_of(range(len(real.x))), {})
    return energy(made, real.x)


@pytest.mark.parametrize(("family", "name"), PAIRS)
def test_training_lowers_the_loss_or_the_distance(family, name):
    model = build(family, name)
    if not model.phases:
        pytest.skip("closed form")
    adversarial = getattr(model, "adversarial", False)
    steps, lr = (45, 3e-3) if adversarial else (40, 0.01)
    trainer = Trainer(model, Training(batch=32, lr=lr, decay=0.2), Clock(steps), seed=1)
    fixed = data(name, Noise("fixed"))
    before = far(model, name) if adversarial else 0.0
    rows = [trainer.step(i, lambda noise: fixed) for i in range(steps)]
    if adversarial:
        other = build(family, name)
        other.load_state_dict(trainer.averaged())
        assert far(other.eval(), name) < 0.7 * before
        return
    for phase in {key.split(".")[0] for row in rows for key in row}:
        series = [
            sum(v for k, v in row.items() if k.startswith(phase + ".") and not k.endswith(".grad"))
            for row in rows
            if any(k.startswith(phase + ".") for k in row)
        ]
        if len(series) >= 16:
            assert sum(series[-4:]) < sum(series[:4]), f"{phase}: {series}"


@pytest.mark.parametrize("family", [*registry.names("families"), "tinyflow"])
def test_refusals_are_sentences(family):
    model_class = registry.get("families", family)
    answers = {name: model_class.refuse(*specs(name)) for name in TARGETS}
    assert any(answer is None for answer in answers.values())
    for answer in answers.values():
        assert answer is None or (answer.endswith(".") and len(answer) > 15)


@pytest.mark.parametrize("family", registry.names("families"))
def test_the_file_describes_itself(family):
    assert registry.describe("families", family).endswith((".", ")"))
    from mintage.core.config import attribute_help, schema

    config = registry.get("families", family, "Config")
    assert set(attribute_help(config)) == {f.name for f in dataclasses.fields(config)}
    assert schema(config)["type"] == "object"
    keys = {f.name for f in dataclasses.fields(config)}
    assert not keys & {f.name for f in dataclasses.fields(Training)}, "a key of -o means one thing"
