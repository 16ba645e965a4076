"""The text codec and the reading of any encoding."""

import json

import numpy as np
import pytest
import torch

from mintage.core.errors import BadItem, UsageError
from mintage.core.spec import BOS, EOS, PAD
from mintage.modalities.text import Codec
from mintage.nn.reading import encoding_of, read_text
from mintage.nn.twins import jaccard, signature, twins

CHINESE = "春眠不覺曉，處處聞啼鳥。夜來風雨聲，花落知多少。\n" * 3
MODERN = "我们今天去公园散步，天气很好，孩子们都很高兴。\n" * 5
FRENCH = "Où est le café ? Déjà vu, garçon naïf : l'été à Orléans.\n" * 3


@pytest.mark.parametrize("name", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("text", ["plain English text\nwith two lines\n", FRENCH, MODERN, "Привет, мир! Это текст.\n"])
def test_unicode_encodings(name, text):
    assert read_text(text.encode(name)) == text


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_known_by_its_zeros(name):
    for text in ("plain English text\nwith two lines\n", FRENCH):
        assert read_text(text.encode(name)) == text


def test_legacy_encodings():
    assert read_text(MODERN.encode("gb18030")) == MODERN
    assert read_text(CHINESE.encode("gb18030")) == CHINESE
    assert read_text(FRENCH.encode("latin-1")) == FRENCH
    german = "Grüße aus Köln: Äpfel, Öl, Übung, Maß und Süßes für alle.\n"
    assert encoding_of(german.encode("latin-1")) == "latin-1"
    assert read_text(german.encode("latin-1")) == german


def test_normal_form_and_line_ends():
    assert read_text("Cafe\u0301\r\nsecond\rthird".encode()) == "Café\nsecond\nthird"


@pytest.mark.parametrize("data", [b"", b"\0" * 99, b"  \n\t", bytes(range(256)) * 9, b"\x7fELF\x02\x01\x01\0\0\0" * 30])
def test_what_is_no_text(data):
    with pytest.raises(BadItem):
        read_text(data)


def contents(path):
    codec = Codec()
    found = []
    for item in codec.items(path):
        try:
            found.append((codec.read(item), dict(item.given)))
        except BadItem as error:
            found.append((error, {}))
    return found


def test_one_file_one_text(tmp_path):
    (tmp_path / "a.md").write_bytes(b"# Title\r\n\r\nText")
    assert contents(tmp_path / "a.md") == [("# Title\n\nText", {})]


def test_records(tmp_path):
    rows = [{"text": "first", "form": "ode", "n": 3}, {"text": " "}, {"title": "no text at all here"}, ["x"]]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n{broken\n", encoding="utf-8")
    found = contents(tmp_path / "a.jsonl")
    assert found[0] == ("first", {"form": "ode"})
    assert "empty" in str(found[1][0])
    assert found[2] == ("no text at all here", {})
    assert isinstance(found[3][0], BadItem)
    assert "line 6" in str(found[4][0])
    (tmp_path / "b.json").write_text(json.dumps({"poems": [{"text": "one"}, "two"]}))
    assert [text for text, _ in contents(tmp_path / "b.json")] == ["one", "two"]
    (tmp_path / "c.csv").write_text('id;text;label\n1;"hello; world";x\n2;bye;y\n')
    rows = [("hello; world", {"id": "1", "label": "x"}), ("bye", {"id": "2", "label": "y"})]
    assert contents(tmp_path / "c.csv") == rows
    (tmp_path / "d.tsv").write_text("A dog runs.\tUn chien court.\nTwo cats sleep now.\tDeux chats.\n")
    assert [text for text, _ in contents(tmp_path / "d.tsv")] == ["A dog runs.", "Two cats sleep now."]  # the longer column


def test_an_item_can_be_read_later(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    items = list(Codec().items(tmp_path / "a.jsonl"))
    assert Codec().read(items[1]) == "two"
    assert items[0].id != items[1].id


def test_encode_decode_and_state(tmp_path):
    codec = Codec()
    codec.fit([MODERN, CHINESE], [{"class": "modern"}, {"class": "old"}])
    spec = codec.views()["tokens"]
    texts = ["天气很好", "unseen ☃ text", ""]
    x = codec.encode(texts, spec)
    assert x.shape[0] == 3
    assert (x[:, 0] == BOS).all()
    assert [media.content for media in codec.decode(x, spec)] == texts
    short = codec.encode(texts, spec.at(token=4))
    assert short.shape == (3, 4)
    assert short[2].tolist() == [BOS, EOS, PAD, PAD]
    again = Codec()
    again.restore(json.loads(json.dumps(codec.state)))
    assert torch.equal(again.encode(texts, spec), x)
    paths = codec.write(codec.decode(x, spec)[:2], tmp_path, ["one", "二"])
    assert paths[1].read_text(encoding="utf-8") == "unseen ☃ text"


def test_select():
    spec = Codec().views()["tokens"].at(token=10)
    assert Codec().select("2-4", spec).nonzero().ravel().tolist() == [2, 3, 4]
    with pytest.raises(UsageError):
        Codec().select("4-20", spec)


def test_minhash_estimates_jaccard_and_finds_near_copies():
    draw = np.random.default_rng(0)
    words = ["".join(map(chr, draw.integers(97, 123, 6))) for _ in range(300)]
    texts = [" ".join(draw.choice(words, 80)) for _ in range(150)]
    near = [text[:200] + "!" + text[201:] for text in texts]
    a, b = texts[0], near[0]
    guess = (signature(a).view(np.uint32) == signature(b).view(np.uint32)).mean()
    assert abs(guess - jaccard(a, b)) < 0.12
    everything = texts + near
    heads = twins(np.stack([signature(text) for text in everything]), everything)
    assert (heads[:150] == np.arange(150)).all()
    assert (heads[150:] == np.arange(150)).mean() >= 0.99
