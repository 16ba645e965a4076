"""A first guess from captions: it reads words, never the caption's own pictures, and each row alone."""

import itertools

import pytest
import torch

from mintage.core.spec import BOS, EOS, PAD, RESERVED, Batch, Spec
from mintage.families.flow import Config, Model
from mintage.nn.guess import FOLDS, Guess, folds, gathered
from mintage.nn.noise import Noise

SHAPE = (1, 4, 4)
COLOURS, FORMS = range(6), range(6, 12)


def captions(pairs):
    return torch.tensor([[BOS, RESERVED + a, RESERVED + b, EOS, PAD] for a, b in pairs])


def batch_of(x, ids):
    return Batch(x, {"caption": ids}, torch.ones(len(x)), torch.full((len(x),), 4))


@pytest.fixture
def told():
    """Grids that are the sum of what two words say, for 36 pairs three times each."""
    noise = Noise("words")
    says = noise.normal((12, *SHAPE))
    pairs = list(itertools.product(COLOURS, FORMS)) * 3
    x = torch.stack([says[a] + says[b] for a, b in pairs]) + 0.05 * noise.normal((len(pairs), *SHAPE))
    return x, captions(pairs)


def settled(x, ids):
    guess = Guess(SHAPE)
    guess.settle([batch_of(x[:50], ids[:50]), batch_of(x[50:], ids[50:])])
    return guess


def test_words_that_never_met_add_up(told):
    x, ids = told
    found = settled(x, ids)(ids)
    wanted = x - x.mean(0)
    assert 1 - (found - wanted).square().sum() / wanted.square().sum() > 0.8


def test_a_caption_is_guessed_without_its_own_pictures(told):
    x, ids = told
    fold = folds(ids)
    own = int((fold == fold.mode().values).nonzero()[0])  # of a fold with other captions in it
    first = (ids == ids[own]).all(1)
    beside = ((fold == fold[own]) & ~first).nonzero()[:3, 0]  # they take back what the first are given: the mean of all stays
    changed = x.clone()
    changed[first] += 5.0
    changed[beside] -= 5.0
    before, after = settled(x, ids)(ids), settled(changed, ids)(ids)
    assert (after - before)[first].abs().max() < 1e-3
    assert (after - before)[fold != fold[own]].abs().max() > 0.1


def test_a_row_is_guessed_the_same_alone_and_among_others(told):
    x, ids = told
    guess = settled(x, ids)
    assert torch.equal(guess(ids)[7], guess(ids[7:8])[0])


def test_no_caption_no_guess(told):
    x, ids = told
    guess = settled(x, ids)
    assert not guess(torch.zeros_like(ids)).any()
    assert guess(ids[:2]).any()


def test_captions_that_begin_alike_are_spread_over_the_folds():
    ids = torch.arange(RESERVED, RESERVED + 200)
    for place in (2, 5, 14, 17, 35, 60):
        captions = torch.full((200, 64), RESERVED)
        captions[:, place], captions[:, place + 1] = ids, EOS
        captions[:, place + 2 :] = PAD
        assert torch.bincount(folds(captions), minlength=FOLDS).min() >= 10


def test_what_came_from_a_base_stays(told):
    x, ids = told
    base, guess = settled(x, ids), Guess(SHAPE)
    guess.load_state_dict(base.state_dict())
    guess.settle([batch_of(-x, ids)])
    assert torch.equal(guess(ids), base(ids))


def test_unsettled_and_with_a_single_caption_it_says_nothing(told):
    x, ids = told
    guess = Guess(SHAPE)
    assert not guess(ids).any()
    guess.settle([batch_of(x, ids[:1].expand(len(x), -1))])
    assert not guess(ids).any()
    guess.settle([])
    assert not guess(ids).any()


def test_it_comes_back_from_a_state_dict(told):
    x, ids = told
    guess, back = settled(x, ids), Guess(SHAPE)
    back.load_state_dict(guess.state_dict())
    assert torch.equal(guess(ids), back(ids))


def test_too_many_examples_are_thinned_evenly(monkeypatch):
    monkeypatch.setattr("mintage.nn.guess.ITEMS", 64)
    x = torch.arange(1000.0).view(-1, 1)
    ids = captions([(0, 6)] * 1000)
    ids[::2] = PAD  # without a caption: not counted
    kept, words = gathered([batch_of(x[i : i + 90], ids[i : i + 90]) for i in range(0, 1000, 90)], 1)
    gaps = kept[1:] - kept[:-1]
    assert 32 <= len(kept) <= 64
    assert len(words) == len(kept)
    assert torch.equal(gaps, gaps[:1].expand_as(gaps))


def flow(*names):
    kinds = {"class": Spec("tokens", vocab=3), "caption": Spec("tokens", (5,), ("token",), vocab=20)}
    config = Config(widths=(32, 64), depths=(1, 2), patch=1, distil=0.0)
    with Noise("flow").seeded():
        model = Model(Spec("grid", SHAPE, ("channel", "height", "width")), {name: kinds[name] for name in names}, config)
        for param in model.parameters():
            torch.nn.init.normal_(param, std=0.1)
    return model.eval()


def test_a_class_alone_is_read_as_with_an_empty_caption(told):
    x, ids = told
    model, asked = flow("class", "caption"), {"class": torch.tensor([0, 1, 2])}
    model.settle([batch_of(x, ids)])
    alone = [*model.sample(asked, Noise.rows_of([1, 2, 3]), {})][-1]
    empty = [*model.sample({**asked, "caption": torch.zeros(3, 5, dtype=torch.int64)}, Noise.rows_of([1, 2, 3]), {})][-1]
    said = [*model.sample({**asked, "caption": ids[:3]}, Noise.rows_of([1, 2, 3]), {})][-1]
    assert torch.allclose(alone, empty, atol=1e-5)
    assert (alone - said).abs().max() > 1e-3


def test_a_model_with_captions_and_one_without_lend_each_other_all_they_share():
    mine, theirs = flow("caption").state_dict(), flow().state_dict()
    assert set(theirs) <= set(mine)
    assert all(mine[name].shape == value.shape for name, value in theirs.items())


def test_the_guess_of_a_base_goes_with_its_network(told):
    x, ids = told
    base, model = flow("caption"), flow("caption")
    base.settle([batch_of(x, ids)])
    model.inherit(base.state_dict())
    model.settle([batch_of(-x, ids)])
    assert torch.equal(model.guess(ids), base.guess(ids))
