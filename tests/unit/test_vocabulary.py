"""Vocabularies: nothing is unsayable, nothing rare is kept, and it is fast."""

import json
import time

import numpy as np
import pytest

from mintage.core.spec import RESERVED
from mintage.nn.vocabulary import FIRST, SEEN, Vocabulary, choose

STRANGE = "héllo <pad> <s> 猫🐈 \x00\x07 ﷽ \u200d e\u0301 \U0010ffff"
ENGLISH = "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.\n" * 40


@pytest.mark.parametrize("kind", ["byte", "char", "bpe"])
def test_everything_can_be_said(kind):
    vocabulary = Vocabulary.fit([ENGLISH, "春眠不覺曉" * 5], kind)
    for text in (STRANGE, ENGLISH, "", "春眠不覺曉 不在"):
        ids = vocabulary.encode(text)
        assert vocabulary.decode(ids.tolist()) == text
        assert len(ids) == 0 or (ids.min() >= RESERVED and ids.max() < len(vocabulary))
    every = bytes(range(256)).decode("latin-1")
    assert vocabulary.decode(vocabulary.encode(every).tolist()) == every


@pytest.mark.parametrize("kind", ["byte", "char", "bpe"])
def test_state_gives_it_back(kind):
    vocabulary = Vocabulary.fit([ENGLISH + "春眠不覺曉" * 5], kind)
    again = Vocabulary.restore(json.loads(json.dumps(vocabulary.state)))
    assert len(again) == len(vocabulary)
    assert np.array_equal(again.encode(STRANGE + ENGLISH), vocabulary.encode(STRANGE + ENGLISH))


def test_reserved_ids_are_silent_and_broken_bytes_do_not_raise():
    vocabulary = Vocabulary.fit([ENGLISH])
    assert vocabulary.decode([0, 1, 2, 3, 4]) == ""
    assert vocabulary.decode([RESERVED + 0xE7, RESERVED + 65]) == "\ufffdA"


def test_what_only_spells_rare_characters_is_not_drawn():
    vocabulary = Vocabulary.fit(["春眠不覺曉" * 3 + "鸕"], "char")
    rare = vocabulary.encode("鸕").tolist()
    assert len(rare) == 3
    assert set(rare) <= set(vocabulary.spelling)
    assert not set(vocabulary.encode("春眠 abc\n").tolist()) & set(vocabulary.spelling)
    assert not Vocabulary().spelling, "a vocabulary of bytes writes everything with them"


def test_what_was_seen_once_or_twice_is_not_kept():
    secret = "Ξενοφώ"
    for kind in ("char", "bpe"):
        state = json.dumps(Vocabulary.fit([ENGLISH + secret, ENGLISH + secret], kind).state, ensure_ascii=False)
        assert not any(letter in state for letter in secret)
    pieces = Vocabulary.fit(["猫" * (SEEN - 1) + "狗" * SEEN], "char").pieces
    assert pieces == ("狗",)
    learned = Vocabulary.fit([ENGLISH + " zebrawood zebrawood"], "bpe")
    assert not any(b"zebra" in piece for piece in learned.spelled)


def test_the_corpus_chooses():
    def kind(text):
        return Vocabulary.fit([text]).kind

    assert kind(ENGLISH) == "char"
    assert kind("春眠不覺曉，處處聞啼鳥。" * 50) == "char"
    assert kind("hello мир שלום γειά नमस्ते สวัสดี " * 30) == "byte"
    assert choose(dict.fromkeys("abcdefghijklm", 500_000)) == "bpe"
    assert choose({}) == "byte"


def test_sizes():
    assert len(Vocabulary()) == FIRST == 261
    assert len(Vocabulary.fit([ENGLISH], "char")) == FIRST  # ASCII letters are their bytes
    assert FIRST < len(Vocabulary.fit([ENGLISH], "bpe", 64)) <= FIRST + 64
    assert len(Vocabulary.fit([])) == FIRST


def test_a_megabyte_is_encoded_at_once():
    text = "春眠不覺曉，處處聞啼鳥。 To be, or not to be ☃\n" * 30_000
    vocabulary = Vocabulary.fit([text], "char")
    vocabulary.encode("warm")
    begin = time.perf_counter()
    ids = vocabulary.encode(text)
    assert time.perf_counter() - begin < 1  # about .02 s alone
    assert len(ids) == len(text)
