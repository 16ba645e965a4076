"""Altered items teach only where a classifier cannot tell them: not digits, but what has no side."""

import pytest
import torch

from mintage.core.store import read_json
from mintage.nn.forced import told
from mintage.nn.noise import Noise
from mintage.verbs import augment, plan
from mintage.verbs.inspect import inspect
from mintage.verbs.plan import Wish, outline, solve, training_batch


def blobs(n, noise):
    """Soft spots in random places: no side of such a picture is special."""
    at = 12 * noise.uniform((n, 2, 1, 1)) + 2
    rows, columns = torch.arange(16.0).view(1, 16, 1), torch.arange(16.0).view(1, 1, 16)
    far = (rows - at[:, 0]).square() + (columns - at[:, 1]).square()
    return (2 * torch.exp(-far / 8) - 1)[:, None] + 0.05 * noise.normal((n, 1, 16, 16))


@pytest.mark.parametrize("seed", range(3))
def test_mirrored_digits_are_told_and_mirrored_spots_are_not(seed, digits):
    x, labels = (part[200 * seed : 200 * seed + 200] for part in digits)
    assert told(x, x.flip(3), labels, Noise(seed))[1] > augment.LIMIT
    spots = blobs(400, Noise("blobs", seed))
    assert told(spots, spots.flip(3), None, Noise(seed))[2] < augment.LIMIT


def test_a_class_can_tell_what_the_whole_cannot():
    """Left and right arrows: mirrored they look like each other, and only the class knows."""
    x = torch.zeros(200, 1, 12, 12).add_(0.05 * Noise("arrows").normal((200, 1, 12, 12)))
    x[:100, :, 4:8, :6] += 1
    x[100:, :, 4:8, 6:] += 1
    labels = torch.arange(200) // 100
    assert told(x, x.flip(3), None, Noise(0))[2] < augment.LIMIT
    assert told(x, x.flip(3), labels, Noise(0))[1] > 0.9


def test_the_plan_asks_freezes_and_says():
    outlined = outline(Wish("digits", "flow", options=("steps=5", "widths=16,16", "depths=1,1")), inspect("digits", {}))
    plan_ = solve(outlined)
    assert plan_.recipe.training["augment"] == "no"
    assert any("No augmentation" in note for note in plan_.notes)
    (kept,) = [
        read_json(path)
        for path in (plan.augment.cache_folder() / "augment").glob("*.json")
        if read_json(path)["pairs"] and read_json(path)["low"] > augment.LIMIT
    ][:1]
    assert kept["share"] > 0.9
    forced = outline(
        Wish("digits", "flow", options=("steps=5", "augment=yes", "widths=16,16", "depths=1,1")), inspect("digits", {})
    )
    recipe, dataset = forced.recipe, forced.dataset
    task = plan.build_task(recipe)
    plain = dataset.batch(3, recipe.batch, recipe.seed, Noise("b").fork("data")).x
    x = training_batch(recipe, dataset, task, 3, Noise("b")).x
    turned = [bool(torch.equal(a, b.flip(2))) and not torch.equal(a, b) for a, b in zip(x, plain, strict=True)]
    kept_rows = [bool(torch.equal(a, b)) for a, b in zip(x, plain, strict=True)]
    assert all(t or k for t, k in zip(turned, kept_rows, strict=True))
    assert 0.3 < sum(turned) / len(turned) < 0.7
    again = training_batch(recipe, dataset, task, 3, Noise("b")).x
    assert torch.equal(x, again)


def test_what_does_not_change_is_not_shown(digits):
    codec = plan.registry.get("modalities", "image")()
    x = digits[0][:64].clone()
    x[:32] = (x[:32] + x[:32].flip(3)) / 2
    twins, differ = augment.altered(codec, x, None, Noise(1))
    assert not differ[:32].any()
    assert differ[32:].float().mean() > 0.8
    assert torch.equal(twins[differ], x[differ].flip(3))
