"""What is hidden is told from both sides, its likelihood is a bound, blanks are filled and nothing else is touched."""

import dataclasses
from itertools import pairwise

import pytest
import torch

from mintage.core.spec import BOS, EOS, MASK, PAD, Batch, Spec
from mintage.families import masked
from mintage.nn.noise import Noise
from mintage.nn.trainer import Clock, Trainer, Training
from mintage.tasks.extend import Task

TARGET = Spec("tokens", (24,), ("token",), vocab=40)


def batch(noise, rows=32):
    """Texts of one of two lengths that count on from a start between 5 and 9, over and over."""
    start, length = noise.integers(0, 5, (rows, 1)), 14 + 10 * noise.integers(0, 2, (rows,))
    x = 5 + (start + torch.arange(24)) % 5
    x[:, 0] = BOS
    x[torch.arange(24) == length[:, None] - 1] = EOS
    return Batch(torch.where(torch.arange(24) < length[:, None], x, PAD), {}, torch.ones(rows), length)


def build(target=TARGET):
    with Noise("masked").seeded():
        return masked.Model(target, {}, masked.Config(width=32, layers=2, heads=2, pairs=64))


@pytest.fixture(scope="module")
def model():
    made = build()
    trainer = Trainer(made, Training(batch=32, lr=0.05, decay=0.5), Clock(200), seed=1)
    for step in range(200):
        trainer.step(step, batch)
    return made.eval()


def filled(model, prompt, seed=0, **knobs):
    cond = {"prompt": torch.tensor([prompt])} if prompt else {}
    for x in model.sample(cond, Noise.rows_of([seed]), {"temperature": 0.3, **knobs}):
        last = x
    return last[0].tolist()


@torch.inference_mode()
def test_both_sides_are_seen(model):
    x = batch(Noise("x"), 4).x
    x[:, 8] = MASK
    for side in (slice(1, 8), slice(9, 12)):
        other = x.clone()
        other[:, side] = 5 + (other[:, side] - 3) % 5
        assert not torch.allclose(model.net(x)[:, 8], model.net(other)[:, 8])


def test_blanks_are_filled_and_nothing_else_is_touched(model):
    assert filled(model, [BOS, 6, 7, MASK, 9, 5, MASK, MASK, 8]) == [BOS, 6, 7, 8, 9, 5, 6, 7, 8]
    assert filled(model, [BOS, MASK, MASK, MASK, 9]) == [BOS, 6, 7, 8, 9], "the right side alone tells them"
    whole = filled(model, [BOS, 6, 7])
    assert whole[:6] == [BOS, 6, 7, 8, 9, 5]
    prompt = torch.tensor([[BOS, MASK, 7]])
    assert Task(TARGET, {}).compose(torch.tensor([[BOS, 6, 9]]), {"prompt": prompt}).tolist() == [[BOS, 6, 7]]
    known = torch.tensor([[BOS, 5, 6] + [9] * 21])
    cond = {"known": known, "mask": (torch.arange(24) < 3).float()[None]}
    for x in model.sample(cond, Noise.rows_of([0]), {"temperature": 0.3}):
        last = x
    assert last[0, :3].tolist() == [BOS, 5, 6]
    assert MASK not in last[0]


def test_texts_end_where_texts_end(model):
    rows = [filled(model, [], seed) for seed in range(24)]
    ends = [row.index(EOS) for row in rows if EOS in row]
    assert len(ends) > 20
    assert min(ends.count(13), ends.count(23)) > 4
    assert ends.count(13) + ends.count(23) > 20
    for row in rows:
        end = row.index(EOS) if EOS in row else len(row)
        assert set(row[end:]) <= {EOS, PAD}
        assert min(row[1:end]) >= 5


def test_longer_than_the_window(model):
    told = []
    for seed in range(4):
        row = filled(model, [5, 6, 7, 8], seed, length=50)
        assert MASK not in row
        assert len(row) == 54
        first = row.index(EOS) if EOS in row else 54
        told += [after == 5 + (before - 4) % 5 for before, after in pairwise(row[:first])]
    assert sum(told) > 0.7 * len(told), "each counts on from the one before (by chance a fifth would)"


@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_steps(model, steps):
    assert MASK not in filled(model, [BOS, 6], steps=steps)


@torch.inference_mode()
def test_the_likelihood_is_near_and_not_above_the_truth(model):
    held = batch(Noise("held"), 64)
    bound = model.log_prob(held).mean().item()
    truth = -torch.log(torch.tensor(10.0)).item()  # five starts, two lengths, nothing else to choose
    assert truth - 4 < bound < truth + 0.3
    cut = dataclasses.replace(held, x=held.x[:, :9], length=torch.full((64,), 9))
    assert bound - 0.5 < model.log_prob(cut).mean().item() < 0.3, "a text that goes on has no end yet"


def test_slots_are_kept():
    ranges = tuple((5 + 5 * (t % 4), 8 + 5 * (t % 4)) for t in range(6))
    made = build(dataclasses.replace(TARGET, shape=(6,), slots=ranges))
    x = torch.tensor([[low for low, _ in ranges]])
    loss = made.loss(Batch(x, {}, torch.ones(1), torch.tensor([6])), made.phases[0], 0.0, Noise("loss"))
    assert set(loss) == {"nats"}, "a row has no end"
    assert loss["nats"].item() == pytest.approx(torch.log(torch.tensor(3.0)).item(), abs=0.1), "three are allowed"
    cond = {"known": x, "mask": torch.tensor([[1.0, 0, 0, 0, 0, 0]])}
    for found in made.sample(cond, Noise.rows_of([3, 4]), {"temperature": 1.0}):
        last = found
    assert last.shape == (2, 6)
    assert all(low <= row[t] < high for row in last.tolist() for t, (low, high) in enumerate(ranges))


def test_neighbours_tell_a_blank_before_any_step():
    """Pairs seen three times and more, on both sides; a rare pair leaves no trace."""
    with Noise("beside").seeded():
        fresh = masked.Model(TARGET, {}, masked.Config(width=32, layers=1, heads=2, pairs=64))
    rows = [[BOS, 10, 11, 12, 13, EOS], [BOS, 20, 21, 12, 23, EOS]] * 4 + [[BOS, 10, 30, 12, 13, EOS]]
    fresh.settle([Batch(torch.tensor([row]), {}, torch.ones(1), torch.tensor([6])) for row in rows])
    seen = torch.tensor([[BOS, 10, MASK, 12, 13, EOS], [BOS, 20, MASK, 12, 23, EOS], [BOS, MASK, MASK, MASK, MASK, EOS]])
    places = torch.tensor([2, 2, 2])
    found = fresh.beside.add(torch.zeros(3, TARGET.vocab), seen, torch.arange(3), places)
    assert found[:2].argmax(1).tolist() == [11, 21]
    assert found[2, 11] < found[0, 11], "hidden neighbours tell nothing, the edges of the text a little"
    assert found[0, 30] == found[2, 30], "seen once beside 10: not kept"
    again = masked.Model(TARGET, {}, masked.Config(width=32, layers=1, heads=2, pairs=64))
    again.load_state_dict(fresh.state_dict())
    assert torch.equal(again.beside.add(torch.zeros(3, TARGET.vocab), seen, torch.arange(3), places), found)
