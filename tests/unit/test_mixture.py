"""A mixture is called a gain only when it is nearer than its best member beyond the interval and costs nothing else."""

from types import SimpleNamespace

import pytest
import torch

from mintage.core.spec import Evidence, Score, Spec
from mintage.nn.noise import Noise
from mintage.verbs.mixture import Mixture, mixed

TARGET = Spec("grid", (1, 4, 4), ("channel", "height", "width"), ("grey",))


def bench(made, real):
    def features(x, view=1):
        return x.flatten(1)

    evidence = Evidence(TARGET, made, {}, real, real, real, {}, features, None, Noise("judge"), {})
    return SimpleNamespace(tokens=False, drawn=(made,), seed=0, made=evidence)


def entry(label, value):
    line = SimpleNamespace(made=Score("kernel distance", value, value, value))
    return SimpleNamespace(label=label, report=SimpleNamespace(line=lambda name: line))


@pytest.fixture(scope="module")
def halves():
    """Real items of two kinds; one model makes only the one kind, another only the other."""
    noise = Noise("mixture test")
    kind = torch.where(torch.arange(400) % 2 == 0, 0.6, -0.6).view(-1, 1, 1, 1)
    real = kind + 0.1 * noise.normal((400, 1, 4, 4))
    up = 0.6 + 0.1 * noise.normal((400, 1, 4, 4))
    down = -0.6 + 0.1 * noise.normal((400, 1, 4, 4))
    same = kind + 0.1 * noise.normal((400, 1, 4, 4))
    return real, up, down, same


def test_two_halves_make_a_whole(halves):
    real, up, down, _ = halves
    found = mixed([entry("down", 0.9), entry("up", 0.8)], {"up": bench(up, real), "down": bench(down, real)})
    assert found.members == ("up", "down")
    assert found.gains
    assert found.scores["recall"].value > 0.8 > found.best["recall"].value
    assert "nearer than up alone" in str(found)


def test_a_bad_member_gains_nothing(halves):
    real, up, _, same = halves
    found = mixed([entry("good", 0.0), entry("up", 0.8)], {"good": bench(same, real), "up": bench(up, real)})
    assert not found.gains
    assert "no gain over good" in str(found)


def test_nearer_but_less_varied_is_no_gain():
    near, far = Score("kernel distance", 0.1, 0.0, 0.2), Score("kernel distance", 0.9, 0.8, 1.0)
    wide, narrow = Score("recall", 0.9, 0.8, 0.95, "higher"), Score("recall", 0.3, 0.2, 0.4, "higher")
    assert Mixture(("a", "b"), {near.name: near, wide.name: wide}, {near.name: far, wide.name: narrow}).gains
    assert not Mixture(("a", "b"), {near.name: near, wide.name: narrow}, {near.name: far, wide.name: wide}).gains


def test_texts_and_single_models_are_not_mixed(halves):
    assert mixed([entry("a", 0.1)], {}) is None
    text = SimpleNamespace(tokens=True)
    assert mixed([entry("a", 0.1), entry("b", 0.2)], {"a": text, "b": text}) is None


def test_too_few_held_out_items_judge_no_mixture(halves):
    real, up, down, _ = halves
    assert mixed([entry("down", 0.9), entry("up", 0.8)], {"up": bench(up, real[:15]), "down": bench(down, real[:15])}) is None
