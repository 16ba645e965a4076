"""The cells do what their equations say, in both directions of time's loop; the single stream tells what the network tells."""

import numpy as np
import pytest
import torch

from mintage.core.spec import BOS, EOS, Batch, Spec
from mintage.families import rnn
from mintage.nn import recurrent
from mintage.nn.noise import Noise
from mintage.nn.recall import Recall
from mintage.nn.trainer import Clock, Trainer, Training

TARGET = Spec("tokens", (33,), ("token",), vocab=40)
CELLS = sorted(recurrent.CELLS)


def batch(noise, rows=16):
    start = noise.integers(0, 30, (rows, 1))
    x = 5 + (start + torch.arange(33)) % 30
    x[:, 0] = BOS
    return Batch(x, {}, torch.ones(rows), torch.full((rows,), 33))


def build(cell, **more):
    with Noise("rnn").seeded():
        return rnn.Model(TARGET, {}, rnn.Config(cell=cell, width=32, layers=2, pairs=64, **more))


@pytest.fixture(scope="module", params=CELLS)
def model(request):
    made = build(request.param)
    made.settle(batch(Noise("settle", i)) for i in range(4))
    trainer = Trainer(made, Training(batch=16, lr=0.02), Clock(40), seed=1)
    for step in range(40):
        trainer.step(step, batch)
    return made.eval()


def plain(cell, pre, rec, h, c, mask):
    """The equations, step by step, for autograd to differentiate."""
    found = []
    for now in pre:
        width = h.shape[1]
        if cell == "mingru":
            z = torch.sigmoid(now[:, :width])
            h = (1 - z) * h + z * now[:, width:]
        elif cell == "gru":
            back = (h * mask) @ rec.T
            r, u = torch.sigmoid(now[:, : 2 * width] + back[:, : 2 * width]).chunk(2, 1)
            n = torch.tanh(now[:, 2 * width :] + r * back[:, 2 * width :])
            h = u * h + (1 - u) * n
        else:
            i, f, o, n = (now + (h * mask) @ rec.T).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(n)
            h = torch.sigmoid(o) * torch.tanh(c)
        found.append(h)
    return torch.stack(found)


@pytest.mark.parametrize("cell", CELLS)
def test_forward_and_backward_are_those_of_the_equations(cell):
    noise, gates = Noise("equations"), {"mingru": 2, "gru": 3, "lstm": 4}[cell]
    pre = noise.normal((7, 3, gates * 5)).double().requires_grad_()
    rec = noise.normal((gates * 5, 5)).double().requires_grad_()
    up = noise.normal((7, 3, 5)).double()
    h = c = torch.zeros(3, 5).double()
    mask = (noise.uniform((3, 5)) < 0.5).double() * 2
    wanted = plain(cell, pre, rec, h, c, mask)
    expected = torch.autograd.grad((wanted * up).sum(), [pre, rec] if cell != "mingru" else [pre])
    single = pre.detach().float().requires_grad_()
    weights = rec.detach().float().requires_grad_()
    mask = mask.float()
    if cell == "mingru":
        found = recurrent._MinGru.apply(*single.chunk(2, 2))
    elif cell == "gru":
        found = recurrent._Gru.apply(single, weights, mask)
    else:
        found = recurrent._Lstm.apply(single, weights, mask)
    got = torch.autograd.grad((found * up.float()).sum(), [single, weights] if cell != "mingru" else [single])
    assert torch.allclose(found.double(), wanted, atol=1e-5)
    for a, b in zip(got, expected, strict=True):
        assert torch.allclose(a.double(), b, atol=1e-4)


@torch.inference_mode()
def test_stream_tells_what_the_network_tells(model):
    x = batch(Noise("y"), 1).x
    plain = model.net(x)[0].numpy()
    read = Recall(model.net, None)
    assert np.allclose(read.read(x[0, :4].tolist(), 2), plain[2:4], atol=1e-4)
    for t in range(4, 33):
        assert np.allclose(read.read(x[0, t : t + 1].tolist()), plain[t : t + 1], atol=1e-4)


@pytest.mark.parametrize("seed", range(2))
def test_the_same_text_with_and_without_memory(model, seed):
    texts = []
    for cache in (True, False):
        for x in model.sample({}, Noise.rows_of([seed]), {"length": 80, "cache": cache}):
            last = x
        texts.append(last.tolist())
    assert texts[0] == texts[1]


def test_training_reads_what_was_not_seen(model):
    held = batch(Noise("held"), 8)
    assert -model.network_log_prob(held.x, {}).mean() < 1.8, "the rule is one of 30 starts, then certainty"
    for x in model.sample({"prompt": torch.tensor([[BOS, 9, 10, 11]])}, Noise.rows_of([3]), {"length": 8, "temperature": 0.1}):
        last = x
    assert last[0, :8].tolist() == [BOS, 9, 10, 11, 12, 13, 14, 15] or EOS in last[0].tolist()


@pytest.mark.parametrize("cell", CELLS)
def test_one_mask_a_text(cell):
    model, x = build(cell, dropout=0.5), batch(Noise("mask"), 2)
    assert model.drops(2, Noise("d")).shape == (6, 2, 1, 32), "nothing of it along time"
    with torch.no_grad():
        for block in model.net.blocks:  # they start as the identity
            block.out.copy_(torch.eye(32))
        losses = [model.loss(x, model.phases[0], 0.0, Noise("d", k))["nats"] for k in (0, 0, 1)]
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[0], losses[2])
