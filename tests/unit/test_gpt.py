"""The decoder sees no future, the cache and the single stream tell what the plain network tells, and decoding obeys its knobs."""

import pytest
import torch

from mintage.core.spec import BOS, EOS, Batch, Spec
from mintage.families import gpt
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
def test_cache_and_stream_tell_what_the_network_tells(model):
    x = batch(Noise("y"), 1).x
    plain = model.net(x)[0]
    cache, alone = model.net.cache(1), model.net.cache(1)
    stream = Stream(model.net, None, alone)
    for t in range(x.shape[1] - 1):
        cached = model.net(x[:, t : t + 1], None, cache)[0, 0]
        streamed = torch.from_numpy(stream(int(x[0, t])))
        assert torch.allclose(cached, plain[t], atol=1e-4)
        assert torch.allclose(streamed, plain[t], atol=1e-4)


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
