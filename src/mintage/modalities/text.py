r"""Texts: books, notes, poems, records, in any language.

One ``.txt`` or ``.md`` file is one item; a ``.jsonl``, ``.json``, ``.csv`` or ``.tsv`` row is one, and its other short
fields come with it. The canonical form is a NFC string with ``\n`` line ends, whatever encoding the file was in
(``nn/reading.py``). Ids are framed by bos and eos. It does not know words or grammar, and takes mark-up as text.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mintage.core.errors import BadItem, UsageError
from mintage.core.spec import BOS, EOS, PAD, RESERVED, Item, Media, Spec, Specs
from mintage.core.words import say
from mintage.nn.cells import tabular
from mintage.nn.given import Given
from mintage.nn.noise import Noise
from mintage.nn.reading import read_text
from mintage.nn.twins import signature
from mintage.nn.vocabulary import Vocabulary

COLUMNS = ("text", "content", "body", "document", "sentence", "message", "story", "poem", "lyrics")
LONG = 19  # fewer texts than this are (halves of) long ones, of which a sample is a passage
FIELD = 200  # longest field that may come with a text
LABEL = re.compile(r"\AAI生成 / AI-generated\n\n?")  # our own visible label, which is not part of the text


class Codec:
    """Text files ↔ ids."""

    suffixes = (".txt", ".md", ".jsonl", ".json", ".csv", ".tsv")
    mime = "text/plain"
    family = "gpt"
    pipeline = "text-generation"
    ordered = True  # a few long texts are split in order

    def __init__(self) -> None:
        self.vocabulary = Vocabulary()
        self.given = Given()
        self.opening = ""  # what stands before a sample that nobody began: a passage of a long text starts at a line
        self._waiting: dict[tuple[Path, int], str] = {}  # listed by ``items`` and not yet read

    def items(self, path: Path) -> Iterable[Item]:
        """The texts in one file, each with the fields beside it."""
        text = read_text(path.read_bytes())
        rows = self._rows(path, text)
        if rows is None:
            yield self._item(path, 0, LABEL.sub("", text), {})
            return
        for at, row in rows:
            if isinstance(row, BadItem):
                yield self._item(path, at, row, {})
                continue
            column = _column(row)
            fields = {k: v for k, v in row.items() if k != column and isinstance(v, str) and 0 < len(v) <= FIELD}
            yield self._item(path, at, row[column] if column else BadItem(say("it has no field of text")), fields)

    def _item(self, path: Path, at: int, text: str | BadItem, given: Mapping[str, str]) -> Item:
        self._waiting[path, at] = text  # type: ignore[assignment]
        key = hashlib.blake2b(str(text).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return Item(key, path, at, dict(given))

    @staticmethod
    def claims(path: Path) -> bool:
        """Of delimited files those that are no tables."""
        return path.suffix.lower() not in (".csv", ".tsv") or not tabular(path)

    @staticmethod
    def _rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any] | BadItem]] | None:
        """Numbered rows of a file of records; None for plain text."""
        suffix = path.suffix.lower()
        if suffix == ".jsonl":
            return _lines(text)
        if suffix == ".json":
            return _document(text)
        if suffix in (".csv", ".tsv"):
            return _cells(text, suffix)
        return None

    def read(self, item: Item) -> str:
        """The text of an item."""
        text = self._waiting.pop((item.path, item.at), None)
        if text is None:
            found = {listed.at: self._waiting.pop((listed.path, listed.at)) for listed in self.items(item.path)}
            text = found.get(item.at, "")
        if isinstance(text, BadItem):
            raise text
        if not text.strip():
            raise BadItem(say("the text is empty"))
        return text

    def fit(self, contents: Sequence[str], given: Sequence[Mapping[str, str]]) -> None:
        """The vocabulary and the classes."""
        self.vocabulary = Vocabulary.fit(contents)
        self.opening = "\n" if len(contents) < LONG else ""
        self.given.fit([{k: v for k, v in entry.items() if k == "class"} for entry in given])

    @property
    def state(self) -> dict[str, Any]:
        """Vocabulary and classes."""
        return {"vocabulary": self.vocabulary.state, "opening": self.opening, **self.given.state}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what ``state`` gave."""
        self.vocabulary = Vocabulary.restore(state["vocabulary"])
        self.opening = str(state["opening"])
        self.given.restore(state)

    def views(self) -> Specs:
        """One row of tokens; the plan chooses its length."""
        return {"tokens": Spec("tokens", (0,), ("token",), ("utf-8",), len(self.vocabulary))}

    def conditions(self) -> Specs:
        """What came with the texts and can be asked for: ``class``, with its names in ``channels``."""
        return self.given.specs()

    @property
    def forbid(self) -> tuple[int, ...]:
        """Ids that no sampler should draw."""
        return tuple(self.vocabulary.spelling)

    def encode_caption(self, texts: Sequence[str], spec: Spec) -> Tensor:
        """Captions → ids. [B, L] int64"""
        return self.given.encode_caption(texts, spec)

    def encode(self, contents: Sequence[str], spec: Spec) -> Tensor:
        """bos, ids, eos; cut to the spec's length (0: the longest) and padded. → [B, T] int32"""
        rows = [np.concatenate([[BOS], self.vocabulary.encode(text), [EOS]]).astype(np.int32) for text in contents]
        length = spec.shape[0] or max(map(len, rows), default=0)
        out = np.full((len(rows), length), PAD, np.int32)
        for k, row in enumerate(rows):
            out[k, : min(len(row), length)] = row[:length]
        return torch.from_numpy(out)

    def decode(self, x: Tensor, spec: Spec) -> list[Media]:
        """Ids [B, T] → texts, each up to its eos."""
        media = []
        for row in x.cpu().numpy():
            end = np.flatnonzero(row == EOS)
            ids = row[: end[0]] if len(end) else row
            media.append(Media(self.vocabulary.decode(ids[ids >= RESERVED].tolist()), self.mime, ".txt"))
        return media

    def passages(self, x: Tensor, spec: Spec) -> list[str]:
        """What is searched for copies: the texts themselves."""
        return [str(media.content) for media in self.decode(x, spec)]

    def write(self, media: Sequence[Media], out: Path, names: Sequence[str]) -> list[Path]:
        """One UTF-8 file a text."""
        out.mkdir(parents=True, exist_ok=True)
        paths = [out / f"{name}.txt" for name in names]
        for thing, path in zip(media, paths, strict=True):
            path.write_bytes(thing.content.encode("utf-8", "replace"))
        return paths

    def augment(self, x: Tensor, spec: Spec, noise: Noise) -> Tensor:
        """Nothing is done to a text that leaves it as good as real. [B, T]"""
        return x

    def fingerprint(self, contents: Sequence[str]) -> np.ndarray:
        """MinHash over 5-character runs. [N, 512] uint8"""
        return np.stack([signature(text) for text in contents]) if len(contents) else np.zeros((0, 512), np.uint8)

    def select(self, what: str, spec: Spec) -> Tensor:
        """``first-last``, token positions from 0 → True on them. [T] bool"""
        match = re.fullmatch(r"(\d+)-(\d+)", what.strip())
        length = spec.size("token")
        if not match or not int(match[1]) <= int(match[2]) < length:
            raise UsageError(say("{what} is no part of {n} tokens; write first-last, counted from 0.", what=what, n=length))
        mask = torch.zeros(length, dtype=torch.bool)
        mask[int(match[1]) : int(match[2]) + 1] = True
        return mask


def _column(row: Mapping[str, Any]) -> str:
    """The field that holds the text: by its name, else the longest."""
    texts = {key: value for key, value in row.items() if isinstance(key, str) and isinstance(value, str)}
    named = next((key for wish in COLUMNS for key in texts if key.lower() == wish), "")
    return named or max(texts, key=lambda key: len(texts[key]), default="")


def _lines(text: str) -> Iterator[tuple[int, dict[str, Any] | BadItem]]:
    for at, line in enumerate(text.split("\n")):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                yield at, BadItem(say("line {n} is not JSON", n=at + 1))
                continue
            yield at, row if isinstance(row, dict) else {"text": row}


def _document(text: str) -> Iterator[tuple[int, dict[str, Any] | BadItem]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        raise BadItem(say("the file is not JSON")) from None
    if isinstance(rows, dict):
        rows = next((value for value in rows.values() if isinstance(value, list)), [rows])
    for at, row in enumerate(rows if isinstance(rows, list) else [rows]):
        yield at, row if isinstance(row, dict) else {"text": row}


def _cells(text: str, suffix: str) -> Iterator[tuple[int, dict[str, Any] | BadItem]]:
    head = text.split("\n", 1)[0]
    delimiter = "\t" if suffix == ".tsv" else max(",;\t|", key=head.count)
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error as error:
        raise BadItem(say("its rows cannot be told apart ({error})", error=error)) from None
    names = [name.strip() for name in rows[0]] if rows else []
    known = {name.lower() for name in names} & {*COLUMNS, "id", "title", "label", "class", "author"}
    body = rows[1:] if known else rows
    names = names if known else [f"column{k + 1}" for k in range(len(names))]
    main = _main_column(names, body)
    for at, row in enumerate(body):
        if any(cell.strip() for cell in row):
            cells = dict(zip(names, row, strict=False))
            yield at, {"text": cells.pop(main, ""), **cells} if main not in COLUMNS else cells


def _main_column(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same column for all rows: by its name, else the longest on average."""
    named = next((name for wish in COLUMNS for name in names if name.lower() == wish), "")
    lengths = [sum(len(row[k]) for row in rows[:1000] if k < len(row)) for k in range(len(names))]
    return named or (names[int(np.argmax(lengths))] if names else "")
