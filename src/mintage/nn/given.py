"""What comes with the items: classes and captions, as conditions of a model.

Classes are the sorted names seen at least ``SEEN`` times; an item without one, or with a rarer one, has the null id,
which is the number of classes. Captions are spelled by a small vocabulary of their own; a missing caption is all PAD. Some
captions of the data go with the model, so that it can be asked for something when a person asks for nothing, and the words that
several captions use, so that a person hears which of theirs it has hardly read. Of captions without spaces it knows no words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mintage.core.spec import BOS, EOS, PAD, RESERVED, Spec, Specs
from mintage.nn.vocabulary import SEEN, Vocabulary

PIECES = 512  # learned pieces for captions
LENGTH = 64  # most ids of a caption
EXAMPLES = 128  # captions that go with the model
WORDS = 5_000  # words of captions, at most, that go with it; of more none do
WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """Its words, in small letters."""
    return WORD.findall(text.casefold())


class Given:
    """Classes and caption vocabulary of one data set."""

    def __init__(self) -> None:
        self.classes: tuple[str, ...] = ()
        self.captions: Vocabulary | None = None
        self.examples: tuple[str, ...] = ()
        self.words: tuple[str, ...] = ()
        self.length = 0

    def fit(self, given: Sequence[Mapping[str, str]]) -> None:
        """Learn from what came with the train split."""
        counts = Counter(entry["class"] for entry in given if entry.get("class"))
        self.classes = tuple(sorted(name for name, n in counts.items() if n >= SEEN))
        if len(self.classes) < 2:
            self.classes = ()
        texts = [entry["caption"] for entry in given if entry.get("caption")]
        self.captions, self.examples, self.words, self.length = None, (), (), 0
        if len(texts) >= SEEN:
            mostly_wide = sum(len(t.encode()) for t in texts) > 2 * sum(map(len, texts))
            self.captions = Vocabulary.fit(texts, "char" if mostly_wide else "bpe", PIECES)
            lengths = sorted(len(self.captions.encode(t)) + 2 for t in texts)
            self.length = min(LENGTH, lengths[int(0.99 * (len(lengths) - 1))])
            apart = list(dict.fromkeys(texts))
            self.examples = tuple(apart[:: -(-len(apart) // EXAMPLES)])
            uses = Counter(word for text in texts for word in set(words_of(text)))
            known = sorted(word for word, n in uses.items() if n >= SEEN)
            self.words = () if mostly_wide or len(known) > WORDS else tuple(known)

    @property
    def state(self) -> dict[str, Any]:
        """As JSON."""
        captions = self.captions.state if self.captions else None
        found = {"classes": list(self.classes), "captions": captions, "examples": list(self.examples), "length": self.length}
        return {**found, "words": list(self.words)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what ``state`` gave."""
        self.classes = tuple(state["classes"])
        self.captions = Vocabulary.restore(state["captions"]) if state["captions"] else None
        self.examples = tuple(state.get("examples", ()))  # runs before 0.1.0 have none
        self.length, self.words = int(state["length"]), tuple(state.get("words", ()))

    def specs(self) -> Specs:
        """Specs of the conditions there are: ``class`` with its names in ``channels``, ``caption`` with its examples there."""
        found = {}
        if self.classes:
            found["class"] = Spec("tokens", channels=self.classes, vocab=len(self.classes))
        if self.captions:
            found["caption"] = Spec("tokens", (self.length,), ("token",), self.examples, len(self.captions))
        return found

    def encode_caption(self, texts: Sequence[str], spec: Spec) -> Tensor:
        """Captions → ids. [B, L] int64"""
        length = spec.shape[0]
        out = torch.full((len(texts), length), PAD, dtype=torch.int64)
        for row, text in enumerate(texts):
            if text and self.captions:
                ids = [BOS, *self.captions.encode(text)[: length - 2].tolist(), EOS]
                out[row, : len(ids)] = torch.tensor(ids)
        return out

    def strange(self, text: str) -> list[str]:
        """The words of a caption that fewer than ``SEEN`` of the data's use; none where it does not know which they use."""
        return [word for word in dict.fromkeys(words_of(text)) if word not in self.words] if self.words else []

    def spelled(self, ids: Tensor) -> list[str]:
        """Caption ids [B, L] as text, empty where there is none."""
        if self.captions is None:
            return [""] * len(ids)
        return [self.captions.decode([i for i in row if i >= RESERVED]) for row in ids.tolist()]
