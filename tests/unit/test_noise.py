"""One noise: keyed, independent, the same for a sample wherever it stands."""

import torch

from mintage.nn.noise import Noise


def test_the_same_key_is_the_same_noise():
    a, b = Noise("train", 7, "x"), Noise("train", 7, "x")
    assert torch.equal(a.normal((5,)), b.normal((5,)))
    assert not torch.equal(a.normal((5,)), Noise("train", 8, "x").normal((5,)))
    assert not torch.equal(a.fork(1).normal((5,)), a.fork(2).normal((5,)))


def test_a_row_does_not_depend_on_its_neighbours():
    alone, among = Noise.rows_of([5]), Noise.rows_of([3, 5, 9])
    assert torch.equal(alone.normal((1, 4)), among.normal((3, 4))[1:2])
    logits = torch.arange(12.0).view(1, 12).sin()
    assert alone.choose(logits)[0] == among.choose(logits.expand(3, -1))[1]


def test_choose_follows_the_probabilities():
    logits = torch.tensor([0.1, 0.2, 0.7]).log().expand(4000, -1)
    counts = Noise("c").choose(logits).bincount(minlength=3) / 4000
    assert torch.allclose(counts, torch.tensor([0.1, 0.2, 0.7]), atol=0.03)


def test_seeded_restores_the_global_state():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with Noise("init").seeded():
        first = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with Noise("init").seeded():
        assert torch.equal(torch.rand(3), first)


def test_toward_starts_and_ends_where_it_says():
    a, b = Noise.rows_of([1, 2]), Noise.rows_of([3, 4])
    first, last = a.toward(b, 0.0).fork("z").normal((2, 6)), a.toward(b, 1.0).fork("z").normal((2, 6))
    assert torch.allclose(first, Noise.rows_of([1, 2]).fork("z").normal((2, 6)), atol=1e-6)
    assert torch.allclose(last, Noise.rows_of([3, 4]).fork("z").normal((2, 6)), atol=1e-6)
    middle = a.toward(b, 0.5).fork("z").normal((2, 600))
    assert abs(middle.std() - 1) < 0.1
