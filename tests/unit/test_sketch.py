"""The sketch: fits in seconds, draws each row from its own seed, comes back from its weights."""

import time

import pytest
import torch

from mintage.core.spec import PAD, Batch, Spec
from mintage.families.sketch import Config, Model
from mintage.nn.components import chosen, components
from mintage.nn.noise import Noise

GRID = Spec("grid", (3, 64, 64), ("channel", "height", "width"))
SMALL = Spec("grid", (1, 8, 8), ("channel", "height", "width"))
CLASS = Spec("tokens", vocab=10)


def batches(x, cond=None):
    for start in range(0, len(x), 200):
        part = {name: values[start : start + 200] for name, values in (cond or {}).items()}
        rows = x[start : start + 200]
        yield Batch(rows, part, torch.ones(len(rows)), torch.full((len(rows),), x.shape[-1]))


@pytest.fixture(scope="module")
def fitted(digits):
    x, y = digits
    model = Model(SMALL, {"class": CLASS}, Config())
    model.settle(batches(x, {"class": y}))
    return model


def drawn(model, cond, seeds):
    return list(model.sample(cond, Noise.rows_of(seeds), {}))[-1]


def test_five_hundred_pictures_of_64_pixels_take_two_seconds():
    x = torch.tanh(Noise("pictures").normal((500, 20)) @ Noise("axes").normal((20, 3 * 64 * 64))).view(500, 3, 64, 64)
    begin = time.perf_counter()
    model = Model(GRID, {}, Config())
    model.settle(batches(x))
    made = drawn(model, {}, range(16))
    assert made.shape == (16, 3, 64, 64)
    assert time.perf_counter() - begin < 5  # 1–2 s alone; the rest is room for a busy machine


def test_a_row_does_not_depend_on_its_neighbours(fitted):
    asked = torch.arange(20) % 10
    many = drawn(fitted, {"class": asked}, range(20))
    alone = drawn(fitted, {"class": asked[7:8]}, [7])
    assert torch.equal(many[7], alone[0])


def test_asked_classes_look_like_their_class(fitted, digits):
    x, y = digits
    made = drawn(fitted, {"class": torch.arange(100) % 10}, range(100))
    means = torch.stack([x[y == c].mean(0) for c in range(10)])
    read = (made[:, None] - means[None]).flatten(2).norm(dim=2).argmin(1)
    assert (read == torch.arange(100) % 10).float().mean() > 0.8


def test_null_class_means_any(fitted):
    made = drawn(fitted, {"class": torch.full((30,), 10)}, range(30))
    assert torch.equal(made, drawn(fitted, {}, range(30)))


def test_weights_bring_it_back(fitted):
    again = Model(SMALL, {"class": CLASS}, Config())
    again.load_state_dict(fitted.state_dict())
    assert torch.equal(drawn(again, {}, range(4)), drawn(fitted, {}, range(4)))


def test_the_number_of_components_follows_held_out_likelihood():
    noise = Noise("components")
    axes = noise.normal((5, 40))
    x = noise.normal((600, 5)) @ axes + 0.3 * noise.normal((600, 40))
    q = chosen(x[500:], *components(x[:500], 30), float(x[:500].square().sum(1).mean()))
    assert 5 <= q <= 7


@pytest.mark.parametrize("n", [1, 2, 7])
def test_a_handful_is_enough(n, digits):
    model = Model(SMALL, {"class": CLASS}, Config())
    model.settle(batches(digits[0][:n], {"class": digits[1][:n]}))
    assert drawn(model, {}, range(3)).isfinite().all()


def test_texts_are_continued_and_scored():
    text = ("the cat sat on the mat. " * 60).encode()
    ids = torch.tensor([[byte + 5 for byte in text]])
    model = Model(Spec("tokens", (64,), ("token",), vocab=261), {}, Config())
    model.settle([Batch(ids, {}, torch.ones(1), torch.tensor([ids.shape[1]]))])
    made = drawn(model, {}, range(3))
    assert made.shape[0] == 3
    assert ((made == PAD) | (made < 261)).all()
    again = Model(Spec("tokens", (64,), ("token",), vocab=261), {}, Config())
    again.load_state_dict(model.state_dict())
    part = Batch(ids[:, :100], {}, torch.ones(1), torch.tensor([100]))
    assert torch.allclose(again.log_prob(part), model.log_prob(part))
    assert model.log_prob(part).item() > -100
