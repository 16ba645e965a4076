"""Text ↔ ids: bytes, characters or byte-pair pieces, chosen by the corpus.

Ids 0–4 are pad, bos, eos, sep, mask; 5–260 are the 256 bytes; learned pieces follow. A character that is a single byte
is that byte, and whatever has no id of its own is spelled in bytes, so nothing is unsayable. Only what was seen at
least ``SEEN`` times is learned: a vocabulary travels with the model and must not carry a name that stood in the data
once. Byte-pair encoding is that of Sennrich et al. 2016 over bytes, by the tokenizers library. It does not know
languages: the choice looks at size, scripts and repetition alone.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from mintage.core.spec import RESERVED

Kind = Literal["byte", "char", "bpe"]

SEEN = 3  # fewest occurrences of anything that enters a vocabulary or a list of classes
FIRST = RESERVED + 256  # the first learned id
CHARACTERS = 8192  # most characters with ids of their own
LARGE = 5_000_000  # bytes of text from which byte-pair pieces pay
SCRIPTS = 4  # as many scripts of one part in fifty each make a mixed corpus, spelled in bytes
IDEOGRAPHS = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL")


class Vocabulary:
    """A fixed list of pieces. ``Vocabulary()`` knows the bytes alone."""

    def __init__(self, kind: Kind = "byte", pieces: Sequence[str] = (), merges: Sequence[tuple[str, str]] = ()) -> None:
        """``pieces`` are characters in code-point order, ``merges`` byte-pair rules in the order learned."""
        self.kind: Kind = kind
        self.pieces, self.merges = tuple(pieces), tuple(merges)

    def __len__(self) -> int:
        return FIRST + len(self.pieces) + len(self.merges)

    @classmethod
    def fit(cls, texts: Sequence[str], kind: Kind | None = None, size: int = 0) -> Vocabulary:
        """Learn from training texts.

        Args:
            texts: The train split.
            kind: ``byte``, ``char`` or ``bpe``; None chooses by the corpus.
            size: Byte-pair pieces to learn; 0 chooses 512 … 4096 by the corpus.
        """
        counts = _characters(texts)
        total = sum(_width(c) * n for c, n in counts.items())
        kind = kind or choose(counts)
        if kind == "char":
            common = [c for c, n in counts.most_common(CHARACTERS) if n >= SEEN and ord(c) >= 128]
            return cls("char", sorted(common))
        if kind == "bpe":
            return cls._fit_pairs(texts, size or min(4096, max(512, 1 << int(total / LARGE).bit_length() + 9)))
        return cls()

    @classmethod
    def _fit_pairs(cls, texts: Iterable[str], size: int) -> Vocabulary:
        tokenizer = _tokenizer({}, [])
        trainer = trainers.BpeTrainer(
            vocab_size=256 + size,
            min_frequency=SEEN,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
            special_tokens=[],
        )
        tokenizer.train_from_iterator(texts, trainer)
        ids = tokenizer.get_vocab()
        learned = sorted((piece for piece in ids if len(piece) > 1), key=ids.__getitem__)
        return cls("bpe", (), rules(tokenizer, learned))

    @property
    def state(self) -> dict[str, Any]:
        """Everything, as JSON."""
        return {"kind": self.kind, "pieces": "".join(self.pieces), "merges": [list(pair) for pair in self.merges]}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Vocabulary:
        """What ``state`` gave, again."""
        return cls(state["kind"], tuple(state["pieces"]), [(a, b) for a, b in state["merges"]])

    @cached_property
    def _table(self) -> np.ndarray:
        """Code point → id, −1 where it has none. [1114112]"""
        table = np.full(0x110000, -1, np.int32)
        table[:128] = np.arange(128) + RESERVED
        table[[ord(c) for c in self.pieces]] = np.arange(len(self.pieces)) + FIRST
        return table

    @cached_property
    def _pairs(self) -> tuple[Tokenizer, np.ndarray]:
        """The tokenizer, and its ids → ours."""
        alphabet = _byte_letters()
        vocab = {letter: byte for byte, letter in enumerate(alphabet)}
        for left, right in self.merges:
            vocab.setdefault(left + right, len(vocab))
        return _tokenizer(vocab, list(self.merges)), np.arange(len(vocab), dtype=np.int32) + RESERVED

    @cached_property
    def spelled(self) -> list[bytes]:
        """The bytes of each id; empty for the five reserved ones. [V]"""
        single = [bytes([byte]) for byte in range(256)]
        learned = [c.encode() for c in self.pieces]
        if self.merges:
            value = {letter: byte for byte, letter in enumerate(_byte_letters())}
            learned = [bytes(value[letter] for letter in left + right) for left, right in self.merges]
        return [b""] * RESERVED + single + learned

    @property
    def spelling(self) -> range:
        """Ids that only spell characters too rare to be learned: real in a prompt, noise when drawn one by one."""
        return range(RESERVED + 128, FIRST) if self.kind == "char" else range(0)

    def encode(self, text: str) -> np.ndarray:
        """Ids of a text, without bos and eos. [T] int32"""
        if self.kind == "byte":
            return np.frombuffer(text.encode("utf-8", "replace"), np.uint8).astype(np.int32) + RESERVED
        if self.kind == "bpe":
            tokenizer, ours = self._pairs
            return ours[np.asarray(tokenizer.encode(text, add_special_tokens=False).ids, np.int64)]
        points = np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32)
        ids = self._table[points]
        unknown = np.flatnonzero(ids < 0)
        return self._spell(points, ids, unknown) if len(unknown) else ids

    def _spell(self, points: np.ndarray, ids: np.ndarray, unknown: np.ndarray) -> np.ndarray:
        """Put the bytes of characters without an id in their place."""
        spelling = [chr(point).encode("utf-8", "replace") for point in points[unknown].tolist()]
        length = np.ones(len(ids), np.int64)
        length[unknown] = [len(s) for s in spelling]
        out = np.repeat(ids, length)
        out[out < 0] = np.frombuffer(b"".join(spelling), np.uint8).astype(np.int32) + RESERVED
        return out

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids; reserved ids are silent, a broken byte sequence becomes U+FFFD."""
        spelled = self.spelled
        return b"".join([spelled[i] for i in ids]).decode("utf-8", "replace")


def choose(counts: Mapping[str, int]) -> Kind:
    """The kind that suits a corpus, by the counts of its characters."""
    total = sum(counts.values())
    scripts: Counter[str] = Counter()
    for character, n in counts.items():
        if character.isalpha():
            scripts[_script(character)] += n
    letters = max(1, sum(scripts.values()))
    if scripts["IDEOGRAPH"] > 0.3 * letters:
        return "char"  # a character is nearly a word already
    if sum(n >= letters / 50 for n in scripts.values()) >= SCRIPTS:
        return "byte"
    size = sum(_width(c) * n for c, n in counts.items())
    return "bpe" if size > LARGE else "char" if total else "byte"


def _characters(texts: Sequence[str]) -> Counter[str]:
    """How often each character occurs, counted by numpy."""
    counts: Counter[str] = Counter()
    batch: list[str] = []
    size = 0
    for position, text in enumerate(texts):
        batch.append(text)
        size += len(text)
        if size > 1 << 22 or position == len(texts) - 1:
            points = np.frombuffer("".join(batch).encode("utf-32-le", "replace"), np.uint32)
            found = np.bincount(points) if len(points) else np.zeros(0, np.int64)
            counts.update({chr(point): int(found[point]) for point in np.flatnonzero(found)})
            batch, size = [], 0
    return counts


def _script(character: str) -> str:
    name = unicodedata.name(character, "?").split(" ")[0].split("-")[0]
    return "IDEOGRAPH" if name in IDEOGRAPHS else name


def _width(character: str) -> int:
    point = ord(character)
    return 1 if point < 0x80 else 2 if point < 0x800 else 3 if point < 0x10000 else 4


def _byte_letters() -> list[str]:
    """The printable letter that byte-level pair encoding uses for each byte (GPT-2's table). [256]"""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(spare)) for byte in range(256)]


def _tokenizer(vocab: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges) if vocab else models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def rules(tokenizer: Tokenizer, learned: Sequence[str]) -> list[tuple[str, str]]:
    """The merge rules of a trained tokenizer, one a learned piece, in order."""
    import json

    rules = json.loads(tokenizer.to_str())["model"]["merges"]
    pairs = [tuple(rule) if isinstance(rule, list) else tuple(rule.split(" ", 1)) for rule in rules]
    known = set(learned)
    seen: set[str] = set()
    unique = []
    for left, right in pairs:
        if left + right in known and left + right not in seen:
            seen.add(left + right)
            unique.append((left, right))
    return unique
