"""The decoder sees no future, the stream tells what the plain network tells, guesses change nothing, and decoding obeys its knobs."""

import numpy as np
import pytest
import torch

from mintage.core.spec import BOS, EOS, Batch, Spec
from mintage.families import gpt
from mintage.nn.counts import Mixed
from mintage.nn.decode import Guided
from mintage.nn.noise import Noise
from mintage.nn.stream import Stream
from mintage.nn.trainer import Clock, Trainer, Training

TARGET = Spec("tokens", (33,), ("token",), vocab=40)


def batch(noise, rows=16):
    start = noise.integers(0, 30, (rows, 1))
    x = 5 + (start + torch.arange(33)) % 30
    x[:, 0] = BOS
    return Batch(x, {}, torch.ones(rows), torch.full((rows,), 33))


@pytest.fixture(scope="module")
def model():
    with Noise("gpt").seeded():
        made = gpt.Model(TARGET, {}, gpt.Config(width=64, layers=2, heads=2, pairs=64))
    made.settle(batch(Noise("settle", i)) for i in range(4))
    trainer = Trainer(made, Training(batch=16, lr=0.02), Clock(40), seed=1)
    for step in range(40):
        trainer.step(step, batch)
    return made.eval()


@torch.inference_mode()
def test_no_token_sees_its_future(model):
    x = batch(Noise("x"), 4).x
    other = x.clone()
    other[:, 20:] = 5 + (other[:, 20:] + 3) % 30
    a, b = model.net(x), model.net(other)
    assert torch.equal(a[:, :20], b[:, :20])
    assert not torch.equal(a[:, 20:], b[:, 20:])


@torch.inference_mode()
def test_streams_tell_what_the_network_tells(model):
    x = batch(Noise("y"), 1).x[0, :-1].tolist()
    plain = model.net(torch.tensor([x]))[0].numpy()
    for several in (False, True):
        one, some = Stream(model.net, None, several), Stream(model.net, None, several)
        assert np.allclose([one.read([token])[0] for token in x], plain, atol=1e-4)
        assert np.allclose(some.read(x[:9], 9), plain[:9], atol=1e-4)
        some.read([7, 8, 9], 3)
        some.unread(3)
        assert np.allclose(some.read(x[9:20], 2), plain[18:20], atol=1e-4), "what was unread has left a trace"


def test_guesses_change_nothing_but_the_time(model, monkeypatch):
    ahead = [sampled(model, seed, length=90) for seed in range(4)]
    taken = []
    unread = Mixed.unread
    monkeypatch.setattr(Mixed, "unread", lambda self, n: (taken.append(n), unread(self, n)))
    assert sampled(model, 0, length=90) == ahead[0]
    assert 0 < len(taken) < 90, "some guesses are taken back, some hold"
    monkeypatch.setattr("mintage.nn.counts.AHEAD", 0)
    assert [sampled(model, seed, length=90) for seed in range(4)] == ahead


def sampled(model, seed, **knobs):
    for x in model.sample({}, Noise.rows_of([seed]), knobs):
        last = x
    return last[0].tolist()


@pytest.mark.parametrize("seed", range(4))
def test_the_same_text_with_and_without_cache(model, seed):
    assert sampled(model, seed, length=120) == sampled(model, seed, length=120, cache=False)


def test_knobs(model):
    assert len(sampled(model, 0, length=7)) <= 7
    greedy = {tuple(sampled(model, seed, length=20, temperature=0.0)) for seed in range(3)}
    assert len(greedy) == 1
    ended = sampled(model, 1, length=200, stop=((20,),))
    assert ended[-1] in (20, EOS)
    assert 20 not in ended[:-1]
    for x in model.sample({"prompt": torch.tensor([[BOS, 9, 10, 11]])}, Noise.rows_of([3]), {"length": 12, "temperature": 0.1}):
        last = x
    assert last[0, :4].tolist() == [BOS, 9, 10, 11]
    assert last[0, 4:8].tolist() == [12, 13, 14, 15]


def test_training_reads_what_was_not_seen(model):
    held = batch(Noise("held"), 8)
    assert -model.log_prob(held).sum() / (8 * 32) < 0.5, "the rule is one of 30 starts, then certainty"


class Fixed:
    def __init__(self, *logits):
        self.logits = np.array([logits], np.float32)

    def read(self, ids, last=1):
        return self.logits


def test_guidance_goes_beyond_what_the_condition_says(model):
    told, free = Fixed(0.0, 1.0, -1.0), Fixed(0.0, 0.5, 1.0)
    assert np.array_equal(Guided(told, free, 1.0).read([5]), told.read([5]))
    assert np.allclose(Guided(told, free, 2.0).read([5]), [[0.0, 1.5, -3.0]])
    assert sampled(model, 0, length=20, guidance=3.0) == sampled(model, 0, length=20), "nothing to be guided by"

    with Noise("guided").seeded():
        made = gpt.Model(TARGET, {"class": Spec("tokens", vocab=2)}, gpt.Config(width=32, layers=1, heads=1, pairs=8)).eval()
        torch.nn.init.normal_(made.given.class_embed.weight)
        torch.nn.init.normal_(made.net.head, std=0.2)

    def drawn(guidance):
        *_, x = made.sample(
            {"class": torch.tensor([1])}, Noise.rows_of([4]), {"length": 20, "forbid": (EOS,), "guidance": guidance}
        )
        return x.tolist()

    assert drawn(1.0) != drawn(2.0)
    assert drawn(2.0) == drawn(2.0)


@torch.inference_mode()
def test_ids_that_spell_one_character_share_its_place(model):
    model.net.spelling = range(20, 25)
    ids = [BOS, 7, 30, 21, 22, 9, 10]
    try:
        with Noise("places").seeded():
            torch.nn.init.normal_(model.net.place_embed.weight)
        plain = model.net(torch.tensor([ids]))[0].numpy()
        stream = Stream(model.net, None)
        assert np.allclose([stream.read([token])[0] for token in ids], plain, atol=1e-3)
        model.net.spelling = range(0)
        assert not np.allclose(model.net(torch.tensor([ids]))[0, 3:].numpy(), plain[3:], atol=1e-2)
    finally:
        model.net.spelling = range(0)


def test_words_of_a_caption_lean_towards_tokens_whatever_was_read():
    cond = {"caption": Spec("tokens", (4,), ("token",), (), 9)}
    with Noise("leaning").seeded():
        made = gpt.Model(TARGET, cond, gpt.Config(width=32, layers=1, heads=1, pairs=8)).eval()
        torch.nn.init.normal_(made.net.head, std=0.2)
    with torch.no_grad():
        made.leaning.caption_embed.weight[7, 20] = 50.0
    asked = {"caption": torch.tensor([[5, 7, 0, 0], [5, 6, 0, 0]])}
    *_, x = made.sample(asked, Noise.rows_of([1, 2]), {"length": 12, "guidance": 1.0, "forbid": (EOS,)})
    assert (x[0, -12:] == 20).all()
    assert (x[1, -12:] != 20).any()
    text = torch.randint(6, 30, (2, 9), generator=torch.Generator().manual_seed(0))
    nats = made.network_log_prob(text, asked)
    assert torch.allclose(nats, made.logits(text[:, :-1], asked).log_softmax(-1).gather(2, text[:, 1:, None])[..., 0], atol=1e-5)
