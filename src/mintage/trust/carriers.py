"""Where words about a file are kept: PNG text chunks (ISO 15948 §11.3.4), the tags of sound files, or a sidecar.

Chunks are put in behind the header without touching the picture's own bytes. ASCII goes into ``tEXt``, anything else
into ``iTXt``. JPEG and WebP are read (XMP) and not written, since nothing here makes them.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Mapping
from html import unescape
from pathlib import Path

from PIL import Image

from mintage.core.store import write_bytes

TAGGED = (".wav", ".mp3", ".flac", ".ogg")
HEADER = 33  # signature and IHDR chunk


def sidecar(path: Path) -> Path:
    """The file beside a file."""
    return path.with_name(path.name + ".aigc.json")


def write(path: Path, words: Mapping[str, str]) -> None:
    """Add entries to a file's own; an entry of the same key is replaced."""
    if path.suffix.lower() in TAGGED:
        return _tag(path, words)
    if path.suffix.lower() != ".png":
        write_bytes(sidecar(path), json.dumps({**read(path), **words}, ensure_ascii=False, indent=1).encode())
        return
    data = path.read_bytes()
    kept = [chunk for chunk in _chunks(data[HEADER:]) if not _holds(chunk, words)]
    write_bytes(path, data[:HEADER] + b"".join(map(_text_chunk, words, words.values())) + b"".join(kept))


def read(path: Path) -> dict[str, str]:
    """All entries of a file, from inside it or beside it; empty where there are none."""
    if path.suffix.lower() in TAGGED:
        return {**_beside(path), **_tags(path)}
    if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"):
        with Image.open(path) as picture:
            picture.load()
            words = {str(key): value for key, value in picture.info.items() if isinstance(value, str)}
            xmp = picture.info.get("xmp", b"")
            found = re.search(rb"<TC260:AIGC>(.*?)</TC260:AIGC>", xmp if isinstance(xmp, bytes) else xmp.encode(), re.S)
        if found and "AIGC" not in words:
            words["AIGC"] = json.dumps({"AIGC": json.loads(unescape(found[1].decode()))})
        return {**_beside(path), **words}
    return _beside(path)


def _beside(path: Path) -> dict[str, str]:
    """The entries of the sidecar."""
    beside = sidecar(path)
    words = json.loads(beside.read_text(encoding="utf-8")) if beside.exists() else {}
    return {key: value for key, value in words.items() if isinstance(value, str)}


def _tag(path: Path, words: Mapping[str, str]) -> None:
    """ID3 (WAV, MP3) or Vorbis comments (FLAC, Ogg); what is heard does not change."""
    import mutagen
    from mutagen.id3 import TXXX

    file = mutagen.File(path)
    if file.tags is None:
        file.add_tags()
    for key, value in words.items():
        if hasattr(file.tags, "setall"):
            file.tags.setall(f"TXXX:{key}", [TXXX(encoding=3, desc=key, text=[value])])  # type: ignore[no-untyped-call]
        else:
            file.tags[key] = [value]
    file.save()


def _tags(path: Path) -> dict[str, str]:
    import mutagen

    try:
        tags = getattr(mutagen.File(path), "tags", None)
    except mutagen.MutagenError as error:
        raise OSError(str(error)) from error
    if tags is None:
        return {}
    if hasattr(tags, "getall"):
        return {tag.desc: str(tag.text[0]) for tag in tags.getall("TXXX") if tag.text}
    return {str(key): str(value) for key, value in list(tags)}


def _chunks(data: bytes) -> list[bytes]:
    found = []
    while data:
        size = 12 + int.from_bytes(data[:4], "big")
        found.append(data[:size])
        data = data[size:]
    return found


def _holds(chunk: bytes, words: Mapping[str, str]) -> bool:
    return chunk[4:8] in (b"tEXt", b"iTXt") and chunk[8:-4].split(b"\0")[0].decode("latin-1") in words


def _text_chunk(key: str, value: str) -> bytes:
    if value.isascii():
        body = b"tEXt" + key.encode("latin-1") + b"\0" + value.encode("ascii")
    else:
        body = b"iTXt" + key.encode("latin-1") + b"\0\0\0\0\0" + value.encode()
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
