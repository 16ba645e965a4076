"""What judges rows: fresh ones pass, rows with their columns shuffled apart fail where pairs count, and copies are found."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from mintage.core.spec import Evidence, Spec
from mintage.metrics import closest, copying, kernel, shape, trend, twosample, utility
from mintage.nn.features import Features
from mintage.nn.noise import Noise

SLOTS = ((5, 35), (35, 65), (65, 69), (69, 71))
SPEC = Spec("tokens", (4,), ("column",), ("height", "weight", "town", "class"), 71, slots=SLOTS)


@dataclass
class Told:
    ordered: bool


class Codec:
    """As much of a codec as rows ask for."""

    learned = (Told(True), Told(True), Told(False), Told(False))

    def views(self):
        return {"tokens": SPEC}

    def ids(self, x, spec):
        return x.long()


def people(n, seed):
    """Weight goes with height, the class with both, the town with nothing."""
    draw = np.random.default_rng(seed)
    height = draw.integers(0, 30, n)
    weight = (height + draw.integers(-3, 4, n)).clip(0, 29)
    town = draw.choice(4, n, p=[0.5, 0.3, 0.15, 0.05])
    kind = (height + weight + draw.normal(0, 6, n) > 30).astype(int)
    return torch.from_numpy(np.stack([5 + height, 35 + weight, 65 + town, 69 + kind], 1)).long()


def shuffled(x):
    """Each column as it is, and nothing between them."""
    return torch.stack([x[Noise("shuffle", k).permutation(len(x)), k] for k in range(x.shape[1])], 1)


@pytest.fixture(scope="module")
def evidence():
    train, test = people(1500, 0), people(600, 1)
    features = Features.fit(SPEC, train, None, 0, Noise("features"))
    extra = {"codec": Codec(), "rows": train}
    return Evidence(SPEC, test[:0], {}, train[:600], people(600, 2), test, {}, features, None, Noise("judge"), extra)


def scores(metric, evidence, made):
    assert metric.Metric.refuse(SPEC, 600) is None
    return {score.name: score for score in metric.Metric()(replace(evidence, made=made))}


def test_columns_alone_do_not_tell(evidence):
    good, apart = (scores(shape, evidence, x)["column shapes"] for x in (people(600, 3), shuffled(people(600, 3))))
    assert good.value > 0.93
    assert abs(good.value - apart.value) < 1e-6
    bent = people(600, 3)
    bent[:, 0] = 5
    worse = scores(shape, evidence, bent)["column shapes"]
    assert worse.high < good.low
    assert "height" in worse.note


@pytest.mark.parametrize(
    ("metric", "name", "sign"),
    [
        (trend, "pair trends", 1),
        (utility, "train on made, test on real", 1),
        (twosample, "two-sample accuracy", -1),
        (kernel, "kernel distance (plain view)", -1),
    ],
)
def test_columns_that_fell_apart_are_seen(evidence, metric, name, sign):
    good, apart = (scores(metric, evidence, x)[name] for x in (people(600, 3), shuffled(people(600, 3))))
    assert sign * good.value > sign * apart.value
    assert (good.low > apart.high) if sign > 0 else (good.high < apart.low)
    assert good.low <= good.value <= good.high


def test_utility_asks_for_the_target(evidence):
    score = scores(utility, evidence, people(600, 3))["train on made, test on real"]
    assert "class" in score.note
    assert score.value > 0.85


def test_copies_are_found(evidence):
    fresh, copied = people(600, 3), evidence.train
    near = "nearer to training than to test rows"
    assert scores(closest, evidence, copied)[near].low > 0.65
    assert scores(closest, evidence, fresh)[near].low < 0.55
    assert scores(copying, evidence, copied)["copy p-value"].value < 1e-3 < scores(copying, evidence, fresh)["copy p-value"].value


def test_other_media_are_refused():
    picture = Spec("grid", (1, 8, 8), ("channel", "height", "width"))
    for metric in (shape, trend, utility, closest):
        assert metric.Metric.refuse(picture, 600)
        assert metric.Metric.refuse(SPEC, 5)
