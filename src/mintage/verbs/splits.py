"""Train teaches, holdout chooses, test only judges: who goes where.

Splits named by the person stay. What is missing is cut from train in the order of the content's hash, so the same item
falls into the same split wherever it lies. Near-duplicates (where they are kept) move together, and so do the pieces of
one file (where files are few, of a tenth of one). Few long texts are cut in order, because neighbouring lines of one text
are not independent.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mintage.core.spec import Item
from mintage.nn.twins import twins
from mintage.verbs.shelf import Contents, Place

SHARE, MOST = 0.1, 5000  # of the items, for holdout and for test
FEW, LONG = 10, 2000  # fewer texts than this of at least this many characters on average are cut in order
TENTHS, LARGE = 10, 0.25  # parts of a file that stay whole where files are few, or one has so large a share of all pieces
MIDDLE = 0.43  # where holdout is cut from a text: next to the test part it would cost train what is most like it
SLICE, SLICE_MOST = 0.02, 50_000  # holdout of a text cut in order


def assign(items: Sequence[Item], prints: np.ndarray | None, contents: Sequence[Any], by_file: bool = False) -> list[Item]:
    """Give each item its split. ``prints`` are passed where near-duplicates were kept; ``by_file`` keeps files whole."""
    if not any(item.split in ("train", "") for item in items):
        items = [replace(item, split="") for item in items]  # only a test set, or only a holdout set, was given
    heads = (twins(prints, contents) if prints is not None else np.arange(len(items))).tolist()
    heads = _files(items) if by_file else heads
    chosen = ["train" if item.split == "" else item.split for item in items]
    free = [i for i, split in enumerate(chosen) if split == "train"]
    wanted = [name for name in ("test", "holdout") if name not in chosen]
    count = min(MOST, max(1, round(SHARE * len(free))))
    if len(free) >= 3:
        order = sorted(free, key=lambda i: (items[heads[i]].id, heads[i], items[i].id))
        edges = [0, *(count * (k + 1) for k in range(len(wanted)))]
        edges = [_whole_clusters(edge, order, heads) for edge in edges]
        for name, start, stop in zip(wanted, edges[:-1], edges[1:], strict=True):
            for i in order[start:stop]:
                chosen[i] = name
    return [i if i.split == split else replace(i, split=split) for i, split in zip(items, chosen, strict=True)]


def _files(items: Sequence[Item]) -> list[int]:
    """For each item the first of its file; of few or very unequal files, the first of its tenth of a file."""
    sizes, seen = Counter(item.path for item in items), Counter[Path]()
    parts = TENTHS if len(sizes) < FEW or max(sizes.values()) > LARGE * len(items) else 1
    first: dict[tuple[Path, int], int] = {}
    heads = []
    for i, item in enumerate(items):
        heads.append(first.setdefault((item.path, seen[item.path] * parts // sizes[item.path]), i))
        seen[item.path] += 1
    return heads


def _whole_clusters(edge: int, order: Sequence[int], heads: Sequence[int]) -> int:
    """The next place at or after ``edge`` that does not cut a cluster."""
    while 0 < edge < len(order) and heads[order[edge]] == heads[order[edge - 1]]:
        edge += 1
    return edge


def in_order(contents: Contents) -> bool:
    """Whether these texts are few and long, and so are cut in order."""
    return len(contents) < FEW and sum(map(len, contents)) >= LONG * len(contents)


def slices(items: Sequence[Item], contents: Contents, places: Mapping[str, Place]) -> tuple[list[Item], dict[str, Place]]:
    """Each text as three items, train, holdout and test; texts that have a split already stay whole.

    An item's ``at`` is the character where its slice begins.
    """
    out: list[Item] = []
    where: dict[str, Place] = {}
    given = any(item.split in ("holdout", "test") for item in items) and any(item.split == "train" for item in items)
    for item, text in zip(items, contents, strict=True):
        place = places[item.id]
        if given:
            out.append(item if item.split else replace(item, split="train"))
            where[item.id] = place
            continue
        test = len(text) - len(text) // 10
        hold = int(MIDDLE * len(text))
        on = hold + min(int(SLICE * len(text)), SLICE_MOST)
        parts = (("train", 0, hold), ("holdout", hold, on), ("train", on, test), ("test", test, len(text)))
        for split, start, stop in parts:
            body = text[start:stop].encode("utf-8", "surrogatepass")
            key = hashlib.blake2b(body, digest_size=16, person=split.encode()).hexdigest()
            before = len(text[:start].encode("utf-8", "surrogatepass"))
            out.append(replace(item, id=key, at=start, split=split))
            where[key] = place._replace(id=key, start=place.start + before, size=len(body))
    return out, where
