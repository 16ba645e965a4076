"""Longer pieces of token streams: frequent runs of ids become one id each, so that a short text is a dozen steps and not sixty.

Byte-pair merges (Sennrich et al., 1508.07909) over ids of any kind, within words: the commonest id of a stream, where it is
common enough to be its space, begins a word, and an id that it nearly always follows (a comma) stands alone. Only what was
seen at least ``SEEN`` times is merged, for what is learned here travels with the model. A stream without a space, as Chinese,
stays as it is: there an id is nearly a word already. It does not know characters, bytes or languages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor

from mintage.core.spec import PAD, RESERVED, Batch
from mintage.nn.settled import Settled
from mintage.nn.vocabulary import SEEN, rules

PLANE = 0x10000  # ids are spelled as characters from here on, away from all that a pattern treats as special
SPACE = 0.1  # least share of a stream that its space takes
FOLLOWED = 0.9  # least share of an id's places that the space follows, for an id that stands alone
READ = 20_000_000  # ids that are enough to learn from


class Pieces(Settled):
    """Ids ↔ pieces: ids keep their number, the piece of merge k is ``vocab + k``. Before ``fit`` every id is a piece."""

    merges: Tensor  # [M, 2] numbers of the two pieces that a merge joins
    marks: Tensor  # [0 or 1 + n]: the space, then the ids that stand alone

    def __init__(self, vocab: int, most: int) -> None:
        """At most ``most`` merges over ``vocab`` ids."""
        super().__init__()
        self.vocab, self.most = vocab, most
        self.keep(merges=torch.zeros(0, 2, dtype=torch.int64), marks=torch.zeros(0, dtype=torch.int64))
        self._source: Tensor | None = None  # the buffer that the tables below were built from
        self._tokenizer: Tokenizer | None = None
        self._spelled: list[tuple[int, ...]] = []

    def __len__(self) -> int:
        return self.vocab + self.most

    def fit(self, batches: Iterable[Batch]) -> None:
        """Learn from one pass over the train split; what was taken over stays."""
        if len(self.merges):
            return
        rows: list[np.ndarray] = []
        read = 0
        for batch in batches:
            for row, length in zip(batch.x, batch.length.tolist(), strict=True):
                ids = row[:length].numpy()
                rows.append(ids[ids >= RESERVED])
                read += length
            if read > READ:
                break
        marks = _marks(rows, self.vocab)
        if not marks or not self.most:
            return
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = _words(marks)
        alphabet = [chr(PLANE + i) for i in range(RESERVED, self.vocab)]
        tokenizer.train_from_iterator(
            (_text(ids.tolist()) for ids in rows),
            trainers.BpeTrainer(
                vocab_size=len(alphabet) + self.most, min_frequency=SEEN, initial_alphabet=alphabet, show_progress=False
            ),
        )
        learned = sorted((text for text in tokenizer.get_vocab() if len(text) > 1), key=tokenizer.get_vocab().__getitem__)
        number = {letter: ord(letter) - PLANE for letter in alphabet}
        found: list[tuple[int, int]] = []
        for left, right in rules(tokenizer, learned):
            number[left + right] = self.vocab + len(found)
            found.append((number[left], number[right]))
        self.keep(merges=torch.tensor(found, dtype=torch.int64).view(-1, 2), marks=torch.tensor(marks))

    def take(self, state: Mapping[str, Tensor], prefix: str) -> None:
        """Take over the pieces of another model by its tensors."""
        self.keep(**{name: state[prefix + name].clone() for name in ("merges", "marks")})

    def _build(self) -> None:
        """The tokenizer and the spelling of every piece, when the buffers are new."""
        if self._source is self.merges:
            return
        self._source = self.merges
        self._spelled = [(i,) for i in range(self.vocab)]
        for left, right in self.merges.tolist():
            self._spelled.append(self._spelled[left] + self._spelled[right])
        texts = [_text(ids) for ids in self._spelled]
        pairs = [(texts[left], texts[right]) for left, right in self.merges.tolist()]
        self._tokenizer = None
        if pairs:
            self._tokenizer = Tokenizer(models.BPE(vocab={text: i for i, text in enumerate(texts)}, merges=pairs))
            self._tokenizer.pre_tokenizer = _words(self.marks.tolist())

    def encode(self, x: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Ids [B, T] with ``length`` [B] in use → pieces [B, S] and their number [B]; the first id is a piece of its own."""
        self._build()
        if self._tokenizer is None:
            longest = int(length.max())
            return x[:, :longest], length
        rows = [row[:n] for row, n in zip(x.tolist(), length.tolist(), strict=True)]
        found = self._tokenizer.encode_batch([_text(row[1:]) for row in rows])
        pieces = [torch.tensor(row[:1] + entry.ids) for row, entry in zip(rows, found, strict=True)]
        padded = torch.nn.utils.rnn.pad_sequence(pieces, batch_first=True, padding_value=PAD)
        return padded.to(x.device), torch.tensor([len(row) for row in pieces], device=x.device)

    def decode(self, rows: Tensor) -> Tensor:
        """Pieces [B, S] → ids [B, T], PAD after the end."""
        self._build()
        spelled = [[i for piece in row if piece != PAD for i in self._spelled[piece]] for row in rows.tolist()]
        ids = [torch.tensor(row, dtype=torch.int64) for row in spelled]
        return torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=PAD)

    def spelling(self, piece: int) -> tuple[int, ...]:
        """The ids of a piece; none where nothing was learned under its number."""
        self._build()
        return self._spelled[piece] if piece < len(self._spelled) else ()

    def holding(self, ids: Iterable[int]) -> tuple[int, ...]:
        """Pieces that cannot be used when these ids must not appear, and the numbers that no piece has."""
        self._build()
        banned = set(ids)
        held = [piece for piece, spelled in enumerate(self._spelled) if banned & set(spelled)]
        return (*held, *range(len(self._spelled), len(self)))


def _text(ids: Sequence[int]) -> str:
    return "".join([chr(PLANE + i) for i in ids])


def _words(marks: Sequence[int]) -> pre_tokenizers.PreTokenizer:
    """Words begin at the space; marks that it follows stand alone."""
    space, *alone = (re.escape(chr(PLANE + i)) for i in marks)
    parts = [pre_tokenizers.Split(Regex(space), "merged_with_next")]
    if alone:
        parts.append(pre_tokenizers.Split(Regex(f"[{''.join(alone)}]"), "isolated"))
    return pre_tokenizers.Sequence(parts)


def _marks(rows: Sequence[np.ndarray], vocab: int) -> list[int]:
    """The space of the streams and the ids that stand alone before it; empty where nothing is common enough."""
    stream = np.concatenate([np.append(row, 0) for row in rows]) if rows else np.zeros(1, np.int64)
    counts = np.bincount(stream, minlength=vocab)
    counts[0] = 0  # ends of texts
    space = int(counts.argmax())
    if counts[space] < SPACE * counts.sum():
        return []
    before = np.bincount(stream[:-1][(stream[1:] == space) | (stream[1:] == 0)], minlength=vocab)
    alone = (counts >= SEEN) & (before >= FOLLOWED * counts)
    alone[space] = False
    return [space, *np.flatnonzero(alone[: max(vocab, 1)]).tolist()]
