"""The U-Net looks at words where there are any: only at those that are there, wherever the picture, and not at the start."""

import pytest
import torch

from mintage.nn.noise import Noise
from mintage.nn.unet import UNet

TOLD, WORDS = 12, 5


def net(size):
    with Noise("unet").seeded():
        made = UNet(2, 1, size, widths=(32, 64), depths=(1, 3), patch=1, embedding=16, told=TOLD)
        for name, param in made.named_parameters():
            if name.endswith("outer.weight") or "leave" in name:
                torch.nn.init.normal_(param, std=0.1)  # what starts at zero
    return made.eval()


def asked(size):
    noise = Noise("asked")
    x, embedding = noise.normal((3, 2, *size)), noise.normal((3, 16))
    words, there = noise.normal((3, WORDS, TOLD)), torch.tensor([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]).bool()
    return x, embedding, words, there


def test_any_width_has_heads():
    for width in (33, 65, 100):
        model = UNet(2, 1, (8, 8), widths=(24, width), depths=(1, 2), attention=(1,), patch=1, embedding=16, told=TOLD)
        x, embedding, words, there = asked((8, 8))
        assert model(x, embedding, words=(words, there)).shape == (3, 1, 8, 8)


@pytest.mark.parametrize("size", [(8, 8), (6, 8, 8), ()])
def test_words_that_are_there_are_seen_and_no_others(size):
    x, embedding, words, there = asked(size)
    model = net(size)
    before = model(x, embedding, words=(words, there))
    beyond = model(x, embedding, words=(torch.where(there[..., None], words, 9.0), there))
    other = model(x, embedding, words=(torch.where(there[..., None], words.flip(0), words), there))
    assert torch.equal(before, beyond)
    assert (before - other)[0].abs().max() > 1e-4
    nothing = model(x, embedding)
    assert torch.allclose(before[2], nothing[2], atol=1e-5)  # whoever is told nothing sees what a net without words does
    assert (before - nothing)[0].abs().max() > 1e-4


def test_before_training_words_change_nothing():
    x, embedding, words, there = asked((8, 8))
    model = UNet(2, 1, (8, 8), widths=(32, 64), depths=(1, 3), patch=1, embedding=16, told=TOLD)
    torch.nn.init.normal_(model.leave.weight)
    assert torch.equal(model(x, embedding, words=(words, there)), model(x, embedding))


def test_without_captions_there_is_nothing_to_look_with():
    assert len(UNet(2, 1, (8, 8), widths=(32, 64), depths=(1, 3)).listen) == 0
