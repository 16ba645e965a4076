"""Train teaches, holdout chooses, test only judges: who goes where.

Splits named by the person stay. What is missing is cut from train in the order of the content's hash, so the same item
falls into the same split wherever it lies. Near-duplicates (where they are kept) move together, and so do the pieces of
one file. Where such files are few, a stretch at the end of some is held out, and pieces that overlap it are left out. Few long
texts are cut in order, because neighbouring lines of one text are not independent.
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
FILES, LARGE = 10, 0.25  # fewer files than this are cut themselves, and so are all where one has so large a share of the pieces
STRETCH = 4  # neighbouring pieces that are held out together where files are cut
MIDDLE = 0.43  # where holdout is cut from a text: next to the test part it would cost train what is most like it
SLICE, SLICE_MOST = 0.02, 50_000  # holdout of a text cut in order


def assign(
    items: Sequence[Item], prints: np.ndarray | None, contents: Sequence[Any], by_file: bool = False, reach: int = 0
) -> list[Item]:
    """Give each item its split; those are missing that would show what is held out.

    Args:
        items: In the order found.
        prints: Passed where near-duplicates were kept.
        contents: Of the items.
        by_file: The items of a file belong together.
        reach: Items of one file overlap when their ``at`` is nearer than this.
    """
    if not any(item.split in ("train", "") for item in items):
        items = [replace(item, split="") for item in items]  # only a test set, or only a holdout set, was given
    chosen = ["train" if item.split == "" else item.split for item in items]
    free = [i for i, split in enumerate(chosen) if split == "train"]
    wanted = [name for name in ("test", "holdout") if name not in chosen]
    count = min(MOST, max(1, round(SHARE * len(free))))
    if len(free) >= 3 and wanted:
        sizes = Counter(items[i].path for i in free)
        if by_file and (len(sizes) < FILES or max(sizes.values()) > LARGE * len(free)):
            given = _stretches(items, free, wanted, count, reach)
        else:
            heads = (twins(prints, contents) if prints is not None else np.arange(len(items))).tolist()
            first: dict[Path, int] = {}
            heads = [first.setdefault(item.path, i) for i, item in enumerate(items)] if by_file else heads
            given = _clusters(items, free, wanted, count, heads)
        chosen = [given.get(i, split) for i, split in enumerate(chosen)]
    pairs = zip(items, chosen, strict=True)
    return [item if item.split == split else replace(item, split=split) for item, split in pairs if split]


def _clusters(
    items: Sequence[Item], free: Sequence[int], wanted: Sequence[str], count: int, heads: Sequence[int]
) -> dict[int, str]:
    """The first of all by the hash of their content, whole clusters at a time."""
    order = sorted(free, key=lambda i: (items[heads[i]].id, heads[i], items[i].id))
    edges = [_whole_clusters(count * k, order, heads) for k in range(len(wanted) + 1)]
    return {i: name for name, start, stop in zip(wanted, edges[:-1], edges[1:], strict=True) for i in order[start:stop]}


def _stretches(items: Sequence[Item], free: Sequence[int], wanted: Sequence[str], count: int, reach: int) -> dict[int, str]:
    """Ends of files: the last pieces of some are test, of others (of a long one, those before) holdout; "" is left out.

    All pieces stand in one line, file after file in the order of their contents' hashes, and the stretches are taken where even
    steps along that line fall, for test and holdout in turn: every file has its turn by its length.
    """
    files: dict[Path, list[int]] = {}
    for i in sorted(free, key=lambda i: items[i].at):
        files.setdefault(items[i].path, []).append(i)
    order = sorted(files, key=lambda path: (min(items[i].id for i in files[path]), str(path)))
    line = [path for path in order for _ in files[path]]
    steps = -(-count // STRETCH)
    found: dict[int, str] = {}
    for path in order:
        left = files[path]
        for k, name in enumerate(wanted):
            falls = (int((j + (k + 0.5) / len(wanted)) / steps * len(line)) for j in range(steps))
            n = sum((count * (j + 1) // steps - count * j // steps) for j, at in enumerate(falls) if line[at] == path)
            if not n or not left:
                continue
            held, left = left[-n:], left[:-n]
            clear = [i for i in left if items[held[0]].at - items[i].at >= reach]
            held = held if clear else left + held  # a file too short to be cut goes as a whole
            found |= dict.fromkeys(left[len(clear) :], "") | dict.fromkeys(held, name)
            left = clear
    return found if len(found) < len(free) else {}


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
