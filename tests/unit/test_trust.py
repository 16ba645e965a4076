"""The border: what comes in, what goes out, and what a file says about itself afterwards."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from mintage import trust
from mintage.core.errors import BadItem
from mintage.core.spec import Item, Media, Sample
from mintage.core.store import content_hash, save_tensors
from mintage.modalities.image import Codec as Pictures
from mintage.modalities.text import Codec as Texts
from mintage.nn.features import outline
from mintage.nn.pictures import perceptual_hash
from mintage.trust import carriers, label

CARD = {"recipe": {"data": "digits", "family": "flow", "task": "generate"}, "mintage": "0.1", "model_hash": "abc"}


def sample(content, seed=1, **given):
    picture = isinstance(content, np.ndarray)
    media = Media(content, "image/png" if picture else "text/plain", ".png" if picture else ".txt")
    if not picture:
        return Sample(media, seed, content_hash(content), given, passage=content)
    grid = torch.from_numpy(content)[None] if content.ndim == 2 else torch.from_numpy(content).movedim(2, 0)
    return Sample(media, seed, content_hash(content), given, grid=grid)


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_admit_asks_the_gates_in_order(tmp_path):
    a, b = noise((20, 20, 3)), noise((20, 20, 3), 1)
    contents = [a, BadItem("it is torn"), a, np.clip(a.astype(int) + 1, 0, 255).astype(np.uint8), b]
    items = [Item(key, tmp_path / f"{k}.png") for k, key in enumerate(["a", "x", "a", "a2", "b"])]
    prints = np.stack([perceptual_hash([c])[0] if isinstance(c, np.ndarray) else np.zeros(8, np.uint8) for c in contents])
    rulings = trust.admit(items, contents, prints)
    assert [(r.admitted, r.kind) for r in rulings] == [
        (True, ""), (False, "broken"), (False, "duplicate"), (False, "near"), (True, ""),
    ]  # fmt: skip
    assert rulings[1].reason == "it is torn"
    assert "0.png" in rulings[2].reason
    assert trust.admit([], [], np.zeros((0, 8), np.uint8)) == []
    assert trust.screen({"prompt": "a cat"}).admitted


SIZES = [(8, 8), (16, 40), (28, 28), (64, 64, 3), (100, 300, 3), (512, 512), (1024, 700, 3)]


@pytest.mark.parametrize("shape", SIZES)
def test_pictures_leave_labelled_and_come_back_exactly(tmp_path, shape):
    pixels = noise(shape)
    paths, refused = trust.release([sample(pixels, 7, caption="一只猫")], "file", CARD, None, tmp_path, Pictures())
    assert not refused
    found = trust.verify(paths[0])
    assert found.verdict == "compliant", found.line
    whole = np.asarray(Image.open(paths[0]))
    height, width = shape[:2]
    left, top, *_ = label.box(width, height)
    assert np.array_equal(whole[top : top + height, left : left + width], pixels)  # nothing lies over the picture
    if min(shape[:2]) <= 160:
        assert np.array_equal(Pictures().read(Item("", paths[0])), pixels)


@pytest.mark.parametrize("side", [8, 28, 64, 128, 160, 300, 1000, 4000])
def test_ink_is_a_twentieth_of_the_short_side(side):
    rows = np.flatnonzero((label.strip(side, side) < 128).any(1))
    assert rows.max() - rows.min() + 1 >= max(11, 0.05 * side)
    assert "AI" in label.WORDS
    assert "生成" in label.WORDS


def test_annex_e_label_and_parameters(tmp_path):
    made = [sample(noise((28, 28)), 3), sample(noise((28, 28), 1), 4)]
    assert made[0].name.startswith("seed0003-")
    paths, _ = trust.release(made, "file", CARD, None, tmp_path, Pictures())
    assert [p.name for p in paths] == [made[0].name + ".png", made[1].name + ".png", "sheet.png"]
    for path in paths:
        words = carriers.read(path)
        fields = json.loads(words["AIGC"])["AIGC"]
        assert tuple(fields) == label.FIELDS
        assert fields["Label"] == "1"
        assert not any(label.ALLOWED.search(value) for value in fields.values())
        assert path.read_bytes().count(b"AIGC\0") == 1
    assert "Seed: 3" in carriers.read(paths[0])["parameters"]
    assert json.loads(carriers.read(paths[0])["mintage"])["box"] == [4, 0, 28, 28]
    with pytest.raises(BadItem, match="sheet"):
        Pictures().read(Item("", paths[2]))
    assert trust.verify(paths[2]).verdict == "compliant", trust.verify(paths[2]).line
    carriers.write(paths[0], {"AIGC": "second"})
    assert paths[0].read_bytes().count(b"AIGC\0") == 1


def test_texts_leave_with_a_first_line_and_a_sidecar(tmp_path):
    text = "春眠不覺曉\n"
    paths, _ = trust.release([sample(text, prompt="春")], "file", CARD, None, tmp_path, Texts())
    assert paths[0].read_text(encoding="utf-8") == f"{label.WORDS}\n\n{text}"
    assert trust.verify(paths[0]).verdict == "compliant"
    codec = Texts()
    assert codec.read(next(iter(codec.items(paths[0])))) == text


def test_verify_names_the_broken_layer(tmp_path):
    def verdicts(path):
        return {layer.layer: layer.verdict for layer in trust.verify(path).layers}

    def fresh(name):
        return trust.release([sample(noise((40, 40, 3)))], "file", CARD, None, tmp_path / name, Pictures())[0][0]

    path = fresh("stripped")
    pixels = np.asarray(Image.open(path))
    Image.fromarray(pixels).save(path)
    assert verdicts(path)["implicit label"] == "not_found"
    path = fresh("painted")
    words = carriers.read(path)
    changed = pixels.copy()
    changed[3, 3] ^= 255
    Image.fromarray(changed).save(path)
    carriers.write(path, words)
    assert verdicts(path) == {
        "implicit label": "compliant", "visible label": "compliant", "content": "noncompliant", "parameters": "compliant",
    }  # fmt: skip
    erased = pixels.copy()
    erased[40:] = 255
    Image.fromarray(erased).save(path)
    carriers.write(path, words)
    assert verdicts(path)["visible label"] == "noncompliant"
    carriers.write(path, {"AIGC": '{"AIGC":{"Label":"9"}}'})
    assert verdicts(path)["implicit label"] == "noncompliant"
    path.write_bytes(path.read_bytes()[:50])
    assert set(verdicts(path).values()) == {"inconclusive"}


def test_copies_are_held_back_and_said(tmp_path):
    train = noise((80, 1, 16, 16))
    save_tensors(tmp_path / "outlines.safetensors", {"outlines": outline(torch.from_numpy(train)).half()})
    made = [sample(noise((16, 16), 99), 1), sample(train[5, 0], 2), sample(train[9, 0][:, ::-1].copy(), 3)]
    seen = trust.release(made, "view", CARD, tmp_path)
    assert [s.seed for s in seen] == [1]
    paths, refused = trust.release(made, "file", CARD, tmp_path, tmp_path / "out", Pictures())
    assert [p.name for p in paths] == [made[0].name + ".png"]
    assert len(refused) == 2
    assert "Sample 2 was held back" in refused[0]


def test_copied_passages_are_held_back(tmp_path):
    lines = [f"line {k} of the training text says {k * 7919 % 997}" for k in range(200)]
    (tmp_path / "train.txt").write_text("\0".join(["\n".join(lines[:100]), "\n".join(lines[100:])]), encoding="utf-8")
    copied, fresh = "I say: " + "\n".join(lines[3:6]), "something that nobody has ever written about the sea " * 3
    short = "床前明月光，疑是地上霜。"
    seen = trust.release([sample(copied), sample(fresh), sample(short)], "view", CARD, tmp_path)
    assert [s.media.content for s in seen] == [fresh, short]
