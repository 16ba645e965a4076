"""Canonical contents on disk: each file is decoded once, and later runs map what the first one stored.

A tray belongs to one DATA and one modality: ``contents-*.bin`` holds the bytes of all contents one after the other,
``prints-*.npy`` their fingerprints, ``index.json`` where each lies. A file with the same path, size and time is not
opened again; a moved or touched one is recognised by its content hash and not decoded again. The index is replaced
atomically and names the other two, so a reader sees an old tray or a new one. Where the cache cannot be written,
contents stay in memory.
"""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple, overload

import numpy as np

from mintage.core.errors import BadItem, StoreError
from mintage.core.store import write_bytes

VERSION = 3  # of the canonical and the encoded forms; a change makes all of them anew


def cache_folder() -> Path:
    """MINTAGE_CACHE, else ``$XDG_CACHE_HOME/mintage`` or ``~/.cache/mintage``."""
    own = os.environ.get("MINTAGE_CACHE", "")
    base = os.environ.get("XDG_CACHE_HOME", "") or "~/.cache"
    return Path(own).expanduser() if own else Path(base).expanduser() / "mintage"


class Place(NamedTuple):
    """Where one content lies. ``shape`` None means text."""

    id: str
    start: int
    size: int
    shape: tuple[int, ...] | None
    file: str = ""
    at: int = 0
    stamp: tuple[int, int] = (0, 0)  # size and time of the file
    given: Mapping[str, str] = MappingProxyType({})
    note: str = ""
    part: int = 0  # which memory
    dtype: str = "|u1"  # of an array


class Contents(Sequence[Any]):
    """Contents in the order asked for, read when looked at; a BadItem stands where there is none."""

    def __init__(self, memories: Sequence[Any], places: Sequence[Place | BadItem]) -> None:
        """``memories`` are maps, arrays or bytes."""
        self.memories, self.places = memories, places

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, key: int) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> Contents: ...
    def __getitem__(self, key: int | slice) -> Any:
        if isinstance(key, slice):
            return Contents(self.memories, self.places[key])
        place = self.places[key]
        if isinstance(place, BadItem):
            return place
        memory = self.memories[place.part]
        if place.shape is None:
            return bytes(memory[place.start : place.start + place.size]).decode("utf-8", "surrogatepass")
        kind = np.dtype(place.dtype)
        return np.frombuffer(memory, kind, place.size // kind.itemsize, place.start).reshape(place.shape)


class Tray:
    """The contents of one DATA, all admitted or not yet judged, in the order found."""

    def __init__(self, places: Sequence[Place], memory: Any, prints: np.ndarray) -> None:
        """``memory`` is a map or bytes; ``prints`` one fingerprint a place. [N, K] uint8"""
        self.places, self.prints = tuple(places), prints
        self.memory = memory
        self.by_file: dict[str, list[Place]] = {}
        for place in places:
            self.by_file.setdefault(place.file, []).append(place)
        self.by_id = {place.id: place for place in places}


def folder_of(cache: Path, key: str) -> Path:
    """Where the tray of one DATA and modality lies."""
    return cache / "contents" / hashlib.sha256(f"{VERSION}:{key}".encode()).hexdigest()[:24]


def load(folder: Path) -> Tray:
    """The tray that an earlier run left; an empty one where there is none or it is damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        index = json.loads((folder / "index.json").read_bytes())
        places = [_revive(entry) for entry in index["places"]]
        prints = np.load(folder / f"prints-{index['name']}.npy", allow_pickle=False)
        with open(folder / f"contents-{index['name']}.bin", "rb") as file:
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if index["size"] else b""
        if len(memory) == index["size"] and len(prints) == len(places):
            return Tray(places, memory, prints)
    return Tray((), b"", np.zeros((0, 0), np.uint8))


def _revive(entry: dict[str, Any]) -> Place:
    shape = None if entry["shape"] is None else tuple(entry["shape"])
    size, time_ns = entry["stamp"]
    return Place(**{**entry, "shape": shape, "stamp": (size, time_ns)})


class Filling:
    """A new tray being written: ``put`` in order, then ``close``."""

    def __init__(self, folder: Path) -> None:
        """Opens a file beside the old tray, or memory where the cache cannot be written."""
        self.folder, self.warning = folder, ""
        self.name = f"{os.getpid():x}-{time.time_ns():x}"
        self._file: BinaryIO
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = open(folder / f"contents-{self.name}.bin", "wb")  # noqa: SIM115 (closed in ``close``)
        except OSError as error:
            self._to_memory(error)
        self._size = 0

    def _to_memory(self, error: OSError) -> None:
        self.warning = error.strerror or str(error)
        self._file = io.BytesIO()

    def put(self, content: Any) -> dict[str, Any]:
        """Store one content; returns the ``start``, ``size``, ``shape`` and ``dtype`` of its place."""
        data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content.tobytes()
        try:
            self._file.write(data)
        except OSError as error:  # the disk is full: go on in memory with what is there
            self._file.close()
            so_far = (self.folder / f"contents-{self.name}.bin").read_bytes()[: self._size]
            self._to_memory(error)
            self._file.write(so_far + b"\0" * (self._size - len(so_far)) + data)
        self._size += len(data)
        form = {"shape": None} if isinstance(content, str) else {"shape": tuple(content.shape), "dtype": content.dtype.str}
        return {"start": self._size - len(data), "size": len(data), **form}

    def contents(self, places: Sequence[Place]) -> Contents:
        """What was put so far."""
        self._file.flush()
        if isinstance(self._file, io.BytesIO):
            return Contents([self._file.getbuffer()], places)
        with open(self._file.name, "rb") as file:
            return Contents([mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self._size else b""], places)

    def close(self, places: Sequence[Place], prints: np.ndarray) -> Tray:
        """Make the new tray the tray, and drop the old one."""
        contents = self.contents(places)
        tray = Tray(places, contents.memories[0], prints)
        if isinstance(self._file, io.BytesIO):
            return tray
        self._file.close()
        try:
            np.save(self.folder / f"prints-{self.name}.npy", prints)
            index = {
                "name": self.name,
                "size": self._size,
                "places": [{**place._asdict(), "given": dict(place.given)} for place in places],
            }
            write_bytes(self.folder / "index.json", json.dumps(index).encode())
        except (OSError, StoreError) as error:
            self.warning = str(error)
        for old in self.folder.glob("*-*-*"):
            if self.name not in old.name:
                with suppress(OSError):
                    old.unlink()  # who has it mapped keeps it
        return tray
