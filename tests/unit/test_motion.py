"""Metrics of motion: real clips score as real, and frozen, shuffled, noisy and sideways ones do not."""

import pytest
import torch

from mintage.core.spec import Evidence, Spec
from mintage.metrics import flicker, motion
from mintage.nn import forced
from mintage.nn.motion import energy, features, jerk
from mintage.nn.noise import Noise

SPEC = Spec("grid", (1, 12, 16, 16), ("channel", "time", "height", "width"), ("grey",))


def clips(n, noise, down=0.0, right=1.0):
    """Soft spots that move at about one speed. [N, 1, T, H, W]"""
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    at, pace = 3 + 3 * noise.uniform((n, 2)), 0.6 + 0.4 * noise.uniform((n, 1))
    t = torch.arange(12.0)
    cy, cx = at[:, :1] + down * pace * t, at[:, 1:] + right * pace * t  # [N, T]
    gone = (y - cy[..., None, None]) ** 2 + (x - cx[..., None, None]) ** 2
    return (2 * torch.exp(-gone / 6) - 1)[:, None]


@pytest.fixture(scope="module")
def bench():
    noise = Noise("clips")
    train, test, made = (clips(n, noise.fork(n)) for n in (150, 60, 61))
    return Evidence(SPEC, made, {}, train, test, test, {}, None, None, Noise("judge"))


def scores(evidence, made):
    given = Evidence(**{**evidence.__dict__, "made": made})
    return {s.name: s for metric in (motion, flicker) for s in metric.Metric()(given)}


def test_real_clips_score_as_real(bench):
    found = scores(bench, bench.made)
    assert found["motion distance"].low <= 0.05
    assert found["frozen clips"].value < 0.15
    assert found["flickering clips"].value < 0.15


def test_a_frozen_frame_is_clearly_bad(bench):
    found = scores(bench, bench.made[:, :, :1].expand_as(bench.made))
    assert found["frozen clips"].low > 0.9
    assert found["motion distance"].low > 10 * max(0.1, scores(bench, bench.made)["motion distance"].high)


def test_shuffled_noisy_and_sideways_clips_are_told(bench):
    real = scores(bench, bench.made)
    order = Noise("order").permutation(12)
    shuffled = scores(bench, bench.made[:, :, order])
    assert shuffled["motion distance"].low > real["motion distance"].high
    assert shuffled["flickering clips"].value > 0.8
    grain = (bench.made + 0.3 * Noise("grain").normal(bench.made.shape)).clamp(-1, 1)
    assert scores(bench, grain)["flickering clips"].low > 0.9
    down = scores(bench, clips(61, Noise("down"), 1.0, 0.0))
    assert down["motion distance"].low > real["motion distance"].high
    assert down["frozen clips"].value < 0.15  # it moves, though another way


def test_direction_has_a_sign():
    right, left = features(clips(20, Noise("a"))), features(clips(20, Noise("a")).flip(2))
    assert right.shape == left.shape
    assert (right.mean(0) - left.mean(0)).abs().max() > 0.1


def test_bytes_and_floats_are_one_and_large_frames_are_reduced():
    x = clips(4, Noise("b"))
    stored = ((x + 1) * 127.5).round().byte()
    assert torch.allclose(features(x), features(stored), atol=0.05)
    big = torch.nn.functional.interpolate(x[:, 0], scale_factor=4)[:, None]
    assert features(big).shape == features(x).shape
    assert torch.allclose(energy(big), energy(x), rtol=0.35)
    assert (jerk(x) < 0.8).all()


def test_pictures_are_refused():
    flat = Spec("grid", (1, 8, 8), ("channel", "height", "width"))
    for metric in (motion, flicker):
        assert metric.Metric.refuse(flat, 99)
        assert metric.Metric.refuse(SPEC, 3)
        assert metric.Metric.refuse(SPEC, 99) is None


def test_mirrored_clips_are_told_where_all_go_one_way():
    x = clips(80, Noise("way"))
    told, low, _ = forced.told(x, x.flip(4), None, Noise("ask"))
    assert low > 0.6, told
