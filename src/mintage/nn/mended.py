"""Sound files whose header does not know how long they are, opened with one that does.

A program that writes as it goes cannot go back: it leaves a size in the WAV that is none, or an MP3 without the frame that
counts the others (Xing), whose length a decoder can only guess from its first frame. Here the chunk is measured and the
frames are counted (ISO 11172-3 §2.4.1.3), and a mended head stands before the bytes of the file, which stays as it is.
An MP3 of free bit rate is left to the decoder's guess.
"""

from __future__ import annotations

import mmap
import os
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

STREAMED = (0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000)  # sizes that a program writes which does not know the end yet
RATES = (44_100, 48_000, 32_000)  # of MPEG-1; MPEG-2 has half of them, 2.5 a quarter
KILOBITS = (
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
)  # of Layer III, MPEG-2 and MPEG-1
ROOMY = 8  # place in these of a bit rate whose frames hold a count
COUNTS = (b"Xing", b"Info", b"VBRI")
SOUGHT = 1 << 17  # bytes in which a frame must begin


class Mended:
    """A file with another head, as libsndfile wants to read it."""

    def __init__(self, path: Path, head: bytes, skip: int) -> None:
        """``head`` stands for the first ``skip`` bytes."""
        with open(path, "rb") as file:
            self._rest = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._head, self._skip, self._at = head, skip, 0
        self._size = len(head) + len(self._rest) - skip

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As files do."""
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self) -> int:
        """As files do."""
        return self._at

    def read(self, count: int) -> bytes:
        """As files do."""
        found, start = self._head[self._at : self._at + count], self._at + self._skip - len(self._head)
        found += self._rest[start + len(found) : start + count] if count > len(found) else b""
        self._at += len(found)
        return found


def mended(path: Path) -> Mended | None:
    """The file with a header that knows its length; None where its own does."""
    info = path.stat()
    found = _head(path, info.st_size, info.st_mtime_ns)
    return Mended(path, *found) if found else None


def chunk(file: Any, order: str) -> tuple[int, int]:
    """Where the chunk of sound in a WAV or AIFF begins, and the size that it claims; (0, 0) where there is none."""
    at = 12
    for _ in range(256):
        file.seek(at)
        header = file.read(8)
        if len(header) < 8:
            break
        length: int = struct.unpack(order, header[4:])[0]
        if header[:4] in (b"data", b"SSND"):
            return at, length
        at += 8 + length + length % 2
    return 0, 0


@lru_cache(maxsize=64)
def _head(path: Path, size: int, _time: int) -> tuple[bytes, int] | None:
    """A mended head and how many bytes it stands for; a file that is read in pieces is looked through once."""
    with open(path, "rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF" and head[8:] == b"WAVE":
            return _wave(file, size, struct.unpack("<I", head[4:8])[0])
    if head[:3] != b"ID3" and _frame(head) is None:
        return None
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _counted(data)


def _wave(file: Any, size: int, claimed: int) -> tuple[bytes, int] | None:
    at, length = chunk(file, "<I")
    real = size - at - 8
    unknown = length in STREAMED and (length or claimed in STREAMED or claimed <= at)  # a size of 0 may be meant
    if not at or not unknown or not 0 < real < (1 << 32) - at:
        return None
    file.seek(0)
    head = file.read(at + 8)
    return head[:4] + struct.pack("<I", at + real) + head[8 : at + 4] + struct.pack("<I", real), at + 8


class _Frame(NamedTuple):
    kind: tuple[int, int]  # version and sampling rate, which do not change within a file
    size: int
    side: int  # bytes between the header and what may be a count


def _frame(header: bytes) -> _Frame | None:
    """What the four bytes before a frame of Layer III say; None if they are none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return None
    version, bits, rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bits in (0, 15) or rate == 3:
        return None
    first, mono = version == 3, header[3] >> 6 == 3
    hertz = RATES[rate] // (1 if first else 2 if version == 2 else 4)
    size = (144_000 if first else 72_000) * KILOBITS[first][bits] // hertz + (header[2] >> 1 & 1)
    return _Frame((version, hertz), size, (17 if mono else 32) if first else (9 if mono else 17))


def _next(data: Any, at: int, kind: tuple[int, int] | None = None) -> int:
    """Where the next frame begins that another follows; −1 where there is none near."""
    end = min(len(data), at + SOUGHT)
    while (at := data.find(b"\xff", at, end)) >= 0:
        frame = _frame(data[at : at + 4])
        if frame and kind in (None, frame.kind):
            after = _frame(data[at + frame.size : at + frame.size + 4])
            if after and after.kind == frame.kind:
                return at
        at += 1
    return -1


def _counted(data: Any) -> tuple[bytes, int] | None:
    """A frame that counts the frames of an MP3 without one."""
    begin = 0
    while data[begin : begin + 3] == b"ID3" and len(data) > begin + 10:
        six, five, four, three = data[begin + 6 : begin + 10]
        begin += 10 + (six << 21 | five << 14 | four << 7 | three)
    begin = _next(data, begin)
    first = _frame(data[begin : begin + 4]) if begin >= 0 else None
    if first is None or any(word in data[begin : begin + 64] for word in COUNTS):
        return None
    at, count = begin, 0
    while at >= 0:
        frame = _frame(data[at : at + 4])
        if frame is None or frame.kind != first.kind:
            at = _next(data, at, first.kind)
            continue
        at += frame.size
        count += at <= len(data)
    header = data[begin : begin + 4]
    header = bytes((0xFF, header[1] | 1, ROOMY << 4 | header[2] & 0x0C, header[3]))
    own = _frame(header)
    size = own.size if own else 0
    return (header + bytes(first.side) + b"Xing" + struct.pack(">II", 1, count)).ljust(size, b"\0"), begin
