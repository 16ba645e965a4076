r"""Bytes → normalised text: UTF-8 (with or without BOM), UTF-16, GB18030, Latin-1, told apart by trial.

A byte-order mark decides at once. Without one, UTF-16 is taken where every other byte is mostly zero; then strict UTF-8
is tried, then strict GB18030 where the outcome is mostly common Chinese, then Latin-1, which never fails. Text becomes NFC
with ``\n`` line ends. It does not know the other legacy encodings (Big5, Shift-JIS, KOI8): save those as UTF-8.
"""

from __future__ import annotations

import codecs
import unicodedata

from mintage.core.errors import BadItem
from mintage.core.words import say

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def encoding_of(data: bytes) -> str:
    """Name of the encoding that these bytes are most likely in."""
    for mark, name in MARKS:
        if data.startswith(mark):
            return name
    head = data[:4096]
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if max(even, odd) > 0.3 * len(head) / 2 > 10 * min(even, odd):
        return "utf-16-le" if odd > even else "utf-16-be"
    if _decodes(data, "utf-8"):
        return "utf-8"
    if _decodes(data, "gb18030") and _looks_chinese(data[:65536].decode("gb18030", "ignore")):
        return "gb18030"
    return "latin-1"


def read_text(data: bytes) -> str:
    """Normalised text.

    Raises:
        BadItem: The bytes hold no text.
    """
    if not data.strip(b"\0 \t\r\n"):
        raise BadItem(say("the file is empty") if not data.strip() else say("the file holds only zero bytes"))
    name = encoding_of(data)
    try:
        text = data.decode(name)
    except UnicodeDecodeError:
        raise BadItem(say("its text is broken: it begins as {name} and does not go on so", name=name)) from None
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    strange = sum(text.count(chr(code)) for code in (*range(9), *range(14, 27), *range(28, 32), 127))
    if strange > 0.01 * len(text):
        raise BadItem(say("it holds binary data and not text"))
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _decodes(data: bytes, name: str) -> bool:
    try:
        data.decode(name)
    except UnicodeDecodeError:
        return False
    return True


def _looks_chinese(text: str) -> bool:
    """Latin-1 accents read as GB18030 give rare characters; real Chinese is mostly from the common block."""
    wide = [character for character in text if ord(character) >= 128]
    common = sum("\u4e00" <= c <= "\u9fa5" or "\u3000" <= c <= "\u303f" or "\uff00" <= c <= "\uffef" for c in wide)
    if not wide or common < 0.9 * len(wide):
        return False
    level_one = sum(0xB0 <= code[0] <= 0xD7 for c in wide if len(code := c.encode("gb18030", "ignore")) == 2)
    return level_one > 0.5 * len(wide) and len(wide) > 0.2 * len(text)
