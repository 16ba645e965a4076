"""Admitted items as memory-mapped tensors, and the batches that a training step sees.

Items are encoded once per (data, codec, size) into a cache beside the canonical contents; training never opens a raw
file, and data larger than memory stays on the disk. Batches are keyed by the step: position p of the training is the
same example in every run of the same recipe. Grids are stored as uint8 that means −1…1, or as floats; tokens as one long row of ids
with offsets, from which windows are cut at random places.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mintage.core.config import to_json
from mintage.core.errors import DataError, StoreError
from mintage.core.protocols import Codec
from mintage.core.spec import PAD, Batch, Cond, Item, Recipe, Spec
from mintage.core.store import read_json, replace_folder, write_json
from mintage.core.words import say
from mintage.nn.noise import Noise
from mintage.verbs.inspect import Inspection, dataset_hash, inspect
from mintage.verbs.shelf import VERSION, cache_folder

SPLITS = ("train", "holdout", "test")
CHUNK = 512  # items encoded at once


def as_model(stored: Tensor, spec: Spec) -> Tensor:
    """Storage form → model form: uint8 grids become floats in −1…1, ids become int64."""
    return (
        stored.float().div_(127.5).sub_(1.0)
        if spec.kind == "grid" and stored.dtype == torch.uint8
        else (stored.float() if spec.kind == "grid" else stored.long())
    )


@dataclass(frozen=True)
class Part:
    """One split: encoded items and what came with them."""

    data: np.ndarray  # grids [N, C, …] uint8 or float32, tokens [total] int32
    offsets: np.ndarray  # tokens: [N + 1] start of each document; grids: [N + 1] 0 … N
    given: Mapping[str, Tensor]  # class [N], caption [N, L]
    weight: Tensor  # [N]
    ids: tuple[str, ...]
    files: int = 0  # that they come from, where pieces of one file are no items of their own

    def __len__(self) -> int:
        return len(self.ids)


def longest(lengths: np.ndarray) -> int:
    """A window that holds nearly all documents of these lengths, and one token more."""
    return -(-int(np.quantile(lengths, 0.99)) // 8) * 8 + 1


def _at(given: Cond, rows: Tensor) -> dict[str, Tensor]:
    return {name: values[rows] for name, values in given.items()}


class Dataset:
    """The three splits of one data set at one size."""

    def __init__(self, target: Spec, parts: Mapping[str, Part]) -> None:
        """``parts`` by split name."""
        self.target, self.parts = target, parts
        self._order: tuple[int, Tensor] | None = None
        train = parts["train"]
        if target.kind == "tokens":
            lengths = np.diff(train.offsets)
            slots = np.maximum(1, np.ceil(lengths / max(1, target.shape[0]))).astype(np.int64)
            self._slot_item = torch.from_numpy(np.repeat(np.arange(len(train)), slots))
        else:
            self._slot_item = torch.arange(len(train))

    def __len__(self) -> int:
        return len(self.parts["train"])

    @property
    def tokens(self) -> int:
        """Training tokens (0 for grids)."""
        return int(self.parts["train"].offsets[-1]) if self.target.kind == "tokens" else 0

    def labels(self, split: str) -> Tensor:
        """Class of each item; empty without classes. [N]"""
        return self.parts[split].given.get("class", torch.empty(0, dtype=torch.int64))

    def given(self, split: str) -> Cond:
        """Conditions that came with a split's items."""
        return self.parts[split].given

    def split(self, name: str, limit: int | None = None) -> Tensor:
        """All items of a split in model form (grids), or documents padded to the target's length (tokens). [N, ...]"""
        part = self.parts[name]
        n = len(part) if limit is None else min(limit, len(part))
        if self.target.kind == "grid":
            return as_model(torch.from_numpy(np.array(part.data[:n])), self.target)
        return self.windows(part, torch.arange(n), torch.zeros(n))[0]

    def settling(self, size: int = 512, most: int = 0) -> Iterator[Batch]:
        """The train split once, in order, for closed-form fitting: grids in batches, rows too, texts a document at a time.

        Of more than ``most`` examples every second, third … is taken; 0 takes all.
        """
        part = self.parts["train"]
        if self.target.kind == "tokens" and not self.target.slots:
            every = max(1, -(-(len(part.offsets) - 1) // most)) if most else 1
            for i, ids in islice(enumerate(self.documents("train")), 0, None, every):
                x = torch.from_numpy(ids.astype(np.int64))[None]
                yield Batch(x, _at(part.given, torch.tensor([i])), part.weight[i : i + 1], torch.tensor([x.shape[1]]))
            return
        every = max(1, -(-len(part) // most)) if most else 1
        for start in range(0, len(part), size * every):
            rows = torch.arange(start, min(start + size * every, len(part)), every)
            if self.target.kind == "grid":
                x = as_model(torch.from_numpy(np.array(part.data[start : start + size * every : every])), self.target)
            else:
                x = self.windows(part, rows, torch.zeros(len(rows)))[0]
            yield Batch(x, _at(part.given, rows), part.weight[rows], torch.full((len(rows),), x.shape[-1]))

    def held(self, rows: int = 64, size: int = 16) -> Iterator[Batch]:
        """Fixed examples of holdout (of train where there is none), spread evenly over it."""
        part = self.parts["holdout" if len(self.parts["holdout"]) else "train"]
        for start in range(0, rows, size):
            items = torch.arange(start, start + size) * len(part) // rows
            if self.target.kind == "grid":
                x = as_model(torch.from_numpy(np.array(part.data[items.numpy()])), self.target)
                length = torch.full((size,), x.shape[-1])
            else:
                places = torch.arange(start, start + size) * (1 if len(part) == 1 else 7) % rows / rows
                x, length = self.windows(part, items, places)
            yield Batch(x, _at(part.given, items), torch.ones(size), length)

    def documents(self, name: str) -> Iterator[np.ndarray]:
        """Each document's ids, whole. Tokens only."""
        part = self.parts[name]
        for start, stop in zip(part.offsets[:-1], part.offsets[1:], strict=True):
            yield np.asarray(part.data[start:stop])

    def _positions(self, first: int, count: int, seed: int) -> Tensor:
        """Slots at training positions first … first+count: each epoch is one permutation. [count]"""
        n, taken = len(self._slot_item), []
        while count:
            epoch, at = divmod(first, n)
            if self._order is None or self._order[0] != epoch:
                self._order = (epoch, Noise("order", seed, epoch).permutation(n))
            piece = self._order[1][at : at + count]
            taken.append(piece)
            first, count = first + len(piece), count - len(piece)
        return torch.cat(taken)

    def items(self, step: int, size: int, seed: int) -> Tensor:
        """Which of the train split's items one step sees. [size]"""
        return self._slot_item[self._positions(step * size, size, seed)]

    def batch(self, step: int, size: int, seed: int, noise: Noise) -> Batch:
        """The examples of one step. ``noise`` places the windows of texts."""
        part, items = self.parts["train"], self.items(step, size, seed)
        if self.target.kind == "grid":
            rows = items.numpy()
            x = as_model(torch.from_numpy(np.ascontiguousarray(part.data[rows])), self.target)
            length = torch.full((size,), x.shape[-1])
        else:
            x, length = self.windows(part, items, noise.uniform((size,)), self.target.shape[0] // 2)
        cond = _at(part.given, items)
        return Batch(x, cond, part.weight[items], length, tuple(part.ids[i] for i in items[:1]))

    def windows(self, part: Part, items: Tensor, where: Tensor, beyond: int = 0) -> tuple[Tensor, Tensor]:
        """One window a document, placed by ``where`` in 0…1. → [B, T], [B]

        A place may fall up to ``beyond`` tokens outside and is moved in: so the first and last tokens are seen as often as others.
        """
        span = self.target.shape[0]
        starts = torch.from_numpy(part.offsets[items.numpy()])
        ends = torch.from_numpy(part.offsets[items.numpy() + 1])
        free = (ends - starts - span).clamp(min=0)
        starts = starts + ((where * (free + 2 * beyond + 1)).long() - beyond).clamp(min=0).minimum(free)
        length = (ends - starts).clamp(max=span)
        place = starts[:, None] + torch.arange(span)  # [B, T]
        inside = torch.arange(span) < length[:, None]
        last = max(0, len(part.data) - 1)
        x = torch.from_numpy(np.asarray(part.data[place.clamp(max=last).numpy()])).long()
        return torch.where(inside, x, PAD), length


def _key(items: Sequence[Item], codec_state: Mapping[str, Any], target: Spec, given: Mapping[str, Spec]) -> str:
    """Where this data lies when encoded; its order counts, because what comes with the items is matched by position."""
    order = [f"{item.id} {item.split}" for item in items]
    text = json.dumps([VERSION, dataset_hash(items), order, codec_state, to_json(target), to_json(given)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _encode_given(items: Sequence[Item], given: Mapping[str, Spec], codec: Codec) -> dict[str, Tensor]:
    """The conditions of items as tensors; a missing one is the null id."""
    found: dict[str, Tensor] = {}
    if "class" in given:
        index = {name: i for i, name in enumerate(given["class"].channels)}
        ids = [index.get(item.given.get("class", ""), len(index)) for item in items]
        found["class"] = torch.tensor(ids, dtype=torch.int64)
    if "caption" in given:
        found["caption"] = codec.encode_caption([i.given.get("caption", "") for i in items], given["caption"])
    return found


def _write_part(folder: Path, name: str, items: Sequence[Item], inspection: Inspection, codec: Codec, spec: Spec) -> str:
    """Encode one split chunk by chunk into ``folder``; returns the type of its numbers."""
    lengths: list[int] = []
    kind = np.dtype(np.uint8 if spec.kind == "grid" else np.int32)
    with open(folder / f"{name}.bin", "wb") as file:
        for start in range(0, len(items), CHUNK):
            contents: Sequence[Any] = inspection.contents(items[start : start + CHUNK])
            if spec.kind == "grid" and hasattr(codec, "cut"):
                cuts = [codec.cut(contents[i], spec) for i in range(len(contents))]
                contents, counts = [piece for pieces in cuts for piece in pieces], [len(pieces) for pieces in cuts]
            else:
                counts = [1] * len(contents)
            x = codec.encode(contents, spec)
            if spec.kind == "grid":
                array = x.contiguous().numpy()
                kind = array.dtype
                file.write(array.tobytes())
                lengths += counts
            else:
                for row in x:
                    row = row[row != PAD].to(torch.int32)
                    file.write(row.numpy().tobytes())
                    lengths.append(len(row))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    np.save(folder / f"{name}.offsets.npy", offsets)
    return kind.str


def build(inspection: Inspection, codec: Codec, target: Spec, given: Mapping[str, Spec]) -> Dataset:
    """Encode everything that was admitted, or map what an earlier run encoded."""
    storage = target if target.kind == "grid" else target.at(token=0)
    key = _key(inspection.items, codec.state, storage, given)
    folder = cache_folder() / "encoded" / key
    by_split = {name: [i for i in inspection.items if i.split == name] for name in SPLITS}

    def mapped() -> Dataset:
        return Dataset(target, {name: _map(folder, name, by_split[name], codec, target, given) for name in SPLITS})

    try:
        return mapped()
    except (OSError, ValueError, EOFError, StoreError):  # not there, or damaged: encoded anew
        temp = folder.with_name(f".{key}.{os.getpid()}.tmp")
        shutil.rmtree(temp, ignore_errors=True)
        temp.mkdir(parents=True)
        kinds = {name: _write_part(temp, name, items, inspection, codec, storage) for name, items in by_split.items()}
        write_json(temp / "done.json", {"target": to_json(target), "dtype": kinds})
        replace_folder(temp, folder)
    return mapped()


def _map(folder: Path, name: str, items: list[Item], codec: Codec, target: Spec, given: Mapping[str, Spec]) -> Part:
    offsets = np.load(folder / f"{name}.offsets.npy")
    path, grid = folder / f"{name}.bin", target.kind == "grid"
    dtype = np.dtype(read_json(folder / "done.json", "dtype")["dtype"][name])
    if grid:  # an item may give several examples
        items = [item for item, n in zip(items, np.diff(offsets).tolist(), strict=True) for _ in range(n)]
        offsets = np.arange(len(items) + 1)
    shape = (len(items), *target.shape) if grid else (int(offsets[-1]),)
    data = np.memmap(path, dtype, "r", shape=shape) if 0 not in shape else np.zeros(shape, dtype)
    weight = torch.tensor([item.weight for item in items], dtype=torch.float32)
    files = len({item.path for item in items}) if getattr(codec, "grouped", False) else 0
    return Part(data, offsets, _encode_given(items, given, codec), weight, tuple(item.id for item in items), files)


def reopen(recipe: Recipe, codec: Codec, options: Mapping[str, str] | None = None) -> Dataset:
    """The data of a recipe again.

    Raises:
        DataError: The data is gone or has changed since the recipe was frozen.
    """
    inspection = inspect(recipe.data, options or {})
    if dataset_hash(inspection.items) != recipe.data_hash:
        raise DataError(
            say(
                "{data} has changed since this run began; put it back as it was, or train again for a new run.",
                data=recipe.data,
            )
        )
    return encoded(recipe, inspection, codec)


def encoded(recipe: Recipe, inspection: Inspection, codec: Codec) -> Dataset:
    """The data in the form that a frozen recipe wants."""
    given = {name: spec for name, spec in recipe.cond.items() if name in ("class", "caption")}
    return build(inspection, codec, recipe.target, given)
