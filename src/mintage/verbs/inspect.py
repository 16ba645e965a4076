"""Look at the data: what is there, what is broken or doubled and why, what it could become.

Every file is decoded once, in full; its canonical content goes to the cache. The border (``trust.admit``) sets aside
what cannot be used, each with a reason. Splits: names given by the person are respected; what is missing is cut from
train by the hash of the content, 10 % for test and 10 % for holdout, at most 5,000 each, near-duplicates together, and so the
pieces of a file; of fewer than ten such files the ends of some are held out.
With fewer than three items all are train. Fewer than ten long texts are each split in order instead: the last tenth is
test, a slice from the middle (2 %, at most 50,000 characters) holdout.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mintage import trust
from mintage.core import registry
from mintage.core.errors import BadItem, DataError
from mintage.core.events import Event, On, ignore
from mintage.core.protocols import Codec
from mintage.core.spec import Item, Ruling
from mintage.core.words import say
from mintage.verbs import guesses, shelf, splits
from mintage.verbs.guesses import Guess
from mintage.verbs.medium import Medium, medium
from mintage.verbs.shelf import Contents, Place, cache_folder
from mintage.verbs.sources import Rows, Source, find

__all__ = ["Guess", "Inspection", "cache_folder", "codec_for", "data_keys", "dataset_hash", "inspect", "manifest"]

OPTIONS = ("modality", "class", "caption", "text", "duplicates")  # of the data, whatever its medium
WINDOW = 64  # items in flight between the reader and its two threads
PRINTS = 2048  # items fingerprinted at once


@dataclass(frozen=True)
class Inspection:
    """What was found, frozen.

    Attributes:
        data: The DATA argument.
        root: Folder that paths are shown relative to.
        medium: The medium that was taken, and what else there is.
        items: What was admitted, with its split.
        refused: What was set aside, and why.
        classes: Sorted class names, empty without classes.
        given_names: What comes with the items and can be a condition: ``class``, ``caption``.
        shapes: How many contents of each shape; of texts, which have none, () and so many.
        guesses: What was assumed, why, and how to say otherwise.
        summary: A few sentences for a person.
    """

    data: str
    root: Path
    medium: Medium
    items: tuple[Item, ...]
    refused: tuple[tuple[Item, Ruling], ...]
    classes: tuple[str, ...]
    given_names: tuple[str, ...]
    shapes: Mapping[tuple[int, ...], int]
    guesses: tuple[Guess, ...]
    summary: tuple[str, ...]
    memories: Sequence[Any] = field(repr=False, default=())
    places: Mapping[str, Place] = field(repr=False, default_factory=dict)

    def contents(self, items: Sequence[Item]) -> Contents:
        """Canonical contents of items, each read from the cache when it is looked at."""
        return Contents(self.memories, [self.places[item.id] for item in items])

    @property
    def modality(self) -> str:
        """Name of the codec."""
        return self.medium.name

    @property
    def sizes(self) -> dict[str, int]:
        """How many contents of each size, the most frequent first; nothing of texts."""
        ordered = sorted(self.shapes.items(), key=lambda pair: -pair[1])
        return {"×".join(map(str, shape)): n for shape, n in ordered if shape}

    def split(self, name: str) -> list[Item]:
        """Items of train, holdout or test."""
        return [item for item in self.items if item.split == name]


def inspect(data: str, options: Mapping[str, str] | None = None, on: On = ignore) -> Inspection:
    """Read DATA in full and say what it is.

    Args:
        data: A folder, a file, or a sample's name.
        options: Guesses to override, by the keys in ``OPTIONS``.
        on: Called with progress and warnings.

    Raises:
        DataError: Nothing usable is there.
    """
    wishes, source = options or {}, find(data, cache_folder())
    taken = medium(source, wishes)
    name, files = taken.name, list(taken.files)
    codec = codec_for(name, wishes)
    options = {key: value for key, value in wishes.items() if key in _told(codec)}  # others must not make a new tray
    side = guesses.sidecars(source, files, options) if getattr(codec, "captioned", False) else guesses.Sidecars()
    files = [path for path in files if path not in side.used]
    with_arrays = source.rows if hasattr(codec, "adopt") else []
    for path in files if with_arrays else ():
        source.refuse(path, "medium", say("array files are there, and they are read alone"))
    found = _adopt(with_arrays, codec, source) if with_arrays else _ingest(source, files, codec, f"{data}:{name}:{options}", on)
    items = guesses.label(found.items, source, side, options, getattr(codec, "named", False))
    rulings = trust.admit(items, Contents(found.memories, found.places), found.prints)
    return _conclude(data, codec, taken, source, found, items, rulings, options)


def data_keys(*codecs: Any) -> tuple[str, ...]:
    """Keys of -o that belong to the data: everybody's, and those of the given media (of all, if none is given)."""
    codecs = codecs or tuple(registry.get("modalities", name) for name in registry.names("modalities"))
    return (*OPTIONS, *(key for codec in codecs for key in getattr(codec, "options", ())))


def _told(codec: Any) -> tuple[str, ...]:
    """What a codec hears of before it reads: its options, and flags (``size``) that decide how it cuts its files."""
    return (*data_keys(codec), *getattr(codec, "flags", ()))


def codec_for(name: str, options: Mapping[str, str]) -> Codec:
    """A medium's codec, told what a person wants of it.

    Raises:
        UsageError: A value that it does not know.
    """
    codec: Codec = registry.get("modalities", name)()
    if hasattr(codec, "configure"):
        codec.configure({key: value for key, value in options.items() if key in _told(codec)})
    return codec


@dataclass
class Found:
    """Items and where their contents lie; a BadItem in place of a place that could not be read."""

    items: list[Item]
    places: list[Place | BadItem]
    memories: list[Any]
    prints: np.ndarray
    notes: Counter[str] = field(default_factory=Counter)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _adopt(arrays: Sequence[Rows], codec: Any, source: Source) -> Found:
    """Arrays serve as their own store; one that holds no pictures is set aside."""
    found = Found([], [], [], np.zeros((0, 0), np.uint8))
    for rows in arrays:
        try:
            pictures = np.ascontiguousarray(codec.adopt(rows.values, rows.bound))
        except BadItem as error:
            source.refuse(rows.path, "broken", str(error))
            continue
        memory, step, shape = pictures.reshape(-1), int(np.prod(pictures.shape[1:])), pictures.shape[1:]
        part = len(found.memories)
        found.memories.append(memory)
        bytes_ = memory.data
        salt = str(shape).encode()
        for at in range(len(pictures)):
            key = _digest(salt + bytes_[at * step : (at + 1) * step])
            given = {"class": rows.labels[at]} if rows.labels else {}
            found.items.append(Item(key, rows.path, at, given, rows.split))
            found.places.append(Place(key, at * step, step, shape, part=part))
    found.prints = _fingerprint(codec, Contents(found.memories, found.places))
    return found


def _fingerprint(codec: Codec, contents: Contents) -> np.ndarray:
    parts = [codec.fingerprint(contents[i : i + PRINTS]) for i in range(0, len(contents), PRINTS)]
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.uint8)


def _ingest(source: Source, files: Sequence[Path], codec: Codec, key: str, on: On) -> Found:
    """Contents of files: from the tray of an earlier run where nothing changed, else decoded now."""
    folder = shelf.folder_of(cache_folder(), f"{source.root.resolve()}:{key}")
    tray = shelf.load(folder)
    rows = {id(place): row for row, place in enumerate(tray.places)}
    stamps = {path: _stamp(path) for path in files}
    same = {p for p in files if (old := tray.by_file.get(str(p))) and old[0].stamp == stamps[p]}
    kept = [place for path in files if path in same for place in tray.by_file[str(path)]]
    prints = tray.prints[[rows[id(place)] for place in kept]]
    memory, places, bad, filling = tray.memory, list(kept), [], None
    news = _read(codec, [path for path in files if path not in same], tray, on)
    for item, content, note in news:
        if isinstance(content, BadItem):
            bad.append((item, content))
            continue
        if filling is None:
            filling = shelf.Filling(folder)
            earlier = Contents([tray.memory], kept)
            places = [p._replace(start=filling.put(earlier[i])["start"]) for i, p in enumerate(kept)]
        about: dict[str, Any] = {"at": item.at, "stamp": stamps[item.path], "given": dict(item.given), "note": note}
        places.append(Place(item.id, file=str(item.path), **filling.put(content), **about))
    if filling is not None:
        fresh = _fingerprint(codec, filling.contents(places[len(kept) :]))
        prints = np.concatenate([prints, fresh]) if len(kept) else fresh
        tray = filling.close(places, prints)
        memory = tray.memory
        if filling.warning:
            sentence = "The cache {folder} cannot be written ({why}); the data stays in memory."
            on(Event("warning", "inspect", say(sentence, folder=folder, why=filling.warning)))
    return _in_order(files, places, prints, memory, bad)


def _in_order(
    files: Sequence[Path], places: list[Place], prints: np.ndarray, memory: Any, bad: list[tuple[Item, BadItem]]
) -> Found:
    """Good and bad items in the order of their files."""
    rank = {str(path): i for i, path in enumerate(files)}
    order = sorted(range(len(places)), key=lambda i: (rank[places[i].file], places[i].at))
    good = [places[i] for i in order]
    items = [Item(p.id, Path(p.file), p.at, p.given) for p in good] + [item for item, _ in bad]
    blank = np.zeros((len(bad), prints.shape[1] if prints.ndim == 2 else 0), np.uint8)
    marks = np.concatenate([prints[order], blank]) if len(places) else blank
    notes = Counter(word for place in good for word in place.note.split())
    return Found(items, [*good, *(error for _, error in bad)], [memory], marks, notes)


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file; of a folder, the size of the files in it, and a hash of their names, sizes and times."""
    try:
        info = path.stat()
        if not path.is_dir():
            return (info.st_size, info.st_mtime_ns)
        inside = sorted((entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in os.scandir(path))
    except OSError:
        return (-1, -1)
    return (sum(size for _, size, _ in inside), int(_digest(repr(inside).encode())[:15], 16))


def _read(codec: Codec, files: Sequence[Path], tray: shelf.Tray, on: On) -> Iterator[tuple[Item, Any, str]]:
    """Items of files with their contents (or a BadItem) and notes, decoded by two threads, in order."""
    queue = _listed(codec, files)
    done = 0
    with ThreadPoolExecutor(2) as pool, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")  # about odd metadata; what matters becomes a reason
        while window := list(islice(queue, WINDOW)):
            yield from pool.map(lambda one: _decode(codec, one, tray), window)
            done += len(window)
            on(Event("step", "inspect", data={"items": done}))


def _listed(codec: Codec, files: Sequence[Path]) -> Iterator[Item | tuple[Item, BadItem]]:
    for path in files:
        try:
            yield from codec.items(path)
        except BadItem as error:
            yield Item("", path), error
        except OSError as error:
            yield Item("", path), BadItem(say("it cannot be opened ({reason})", reason=error.strerror or str(error)))


def _decode(codec: Codec, one: Item | tuple[Item, BadItem], tray: shelf.Tray) -> tuple[Item, Any, str]:
    if isinstance(one, tuple):
        return *one, ""
    item = one
    try:
        if not item.id:  # one item a file: its bytes name it, and a known one is not decoded again
            item = replace(item, id=_digest(item.path.read_bytes()))
            old = tray.by_id.get(item.id)
            if old is not None:
                return item, Contents([tray.memory], [old])[0], old.note
        content = codec.read(item)
    except BadItem as error:
        return item, error, ""
    except OSError as error:
        return item, BadItem(say("it cannot be opened ({reason})", reason=error.strerror or str(error))), ""
    return item, content, getattr(codec, "notes", {}).pop(item.path, "")


def _conclude(
    data: str,
    codec: Codec,
    of: Medium,
    source: Source,
    found: Found,
    items: Sequence[Item],
    rulings: Sequence[Ruling],
    options: Mapping[str, str],
) -> Inspection:
    keep = options.get("duplicates") == "keep"
    good = [i for i, r in enumerate(rulings) if r.admitted or (keep and r.kind == "near")]
    taken = set(good)
    refused = [(items[i], rulings[i]) for i in range(len(items)) if i not in taken]
    refused += [(Item("", path), ruling) for path, ruling in source.refused]
    places = {items[i].id: place for i in good if isinstance(place := found.places[i], Place)}
    contents = Contents(found.memories, [found.places[i] for i in good])
    if not good:
        raise DataError(_nothing(data, source, refused))
    admitted = [items[i] for i in good]
    if getattr(codec, "ordered", False) and splits.in_order(contents):
        admitted, places = splits.slices(admitted, contents, places)
    else:
        prints = found.prints[good] if keep and len(found.prints) else None
        before, reach = admitted, getattr(codec, "window", 0)
        admitted = splits.assign(admitted, prints, contents, getattr(codec, "grouped", False), reach)
        found_again = {item.id for item in admitted}
        border = Ruling(False, "border", say("part of it is in what is held out"))
        refused += [(item, border) for item in before if item.id not in found_again]
    kept = Contents(found.memories, [places[item.id] for item in admitted])
    classes, table = guesses.table(of.guess, codec, admitted, kept)
    names = tuple(key for key in ("class", "caption") if any(key in item.given for item in admitted))
    summary = guesses.summary(data, len(admitted), refused, found.notes, classes)
    return Inspection(
        data,
        source.root,
        of,
        tuple(admitted),
        tuple(refused),
        classes,
        names,
        guesses.shapes(kept),
        table,
        summary,
        found.memories,
        places,
    )


def _nothing(data: str, source: Source, refused: Sequence[tuple[Item, Ruling]]) -> str:
    if not refused:
        return say(
            "{data} is empty; put your pictures, texts, sounds, tunes, clips or a table into it, or name another folder.", data=data
        )
    item, ruling = next((pair for pair in refused if pair[1].kind != "aside"), refused[0])
    return say(
        "None of the {n} files in {data} can be used; the first, {name}: {reason}.",
        n=len(refused), data=data, name=source.shown(item.path), reason=ruling.reason,
    )  # fmt: skip


def dataset_hash(items: Iterable[Item]) -> str:
    """Hash over contents, splits and what came with them, whatever the order and the paths."""
    conditions = ("class", "caption")
    lines = sorted(f"{i.id} {i.split} {i.weight:g} {[i.given.get(key) for key in conditions]}" for i in items)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


def manifest(inspection: Inspection) -> Iterator[dict[str, Any]]:
    """One row an item: what it is, where it came from, whether it was admitted, and if not, why."""
    pairs = [*((item, Ruling(True)) for item in inspection.items), *inspection.refused]
    for item, ruling in pairs:
        path = item.path.relative_to(inspection.root).as_posix() if item.path.is_relative_to(inspection.root) else item.path.name
        yield {
            "id": item.id, "path": path, "at": item.at, "split": item.split, "weight": item.weight,
            "admitted": ruling.admitted, "kind": ruling.kind, "reason": ruling.reason,
        }  # fmt: skip
