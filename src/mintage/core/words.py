"""Both languages from one catalogue: the English sentence in the code is the key, ``words.zh.json`` maps it.

``say("{n} pictures", n=3)`` looks the sentence up in the language of the person (``MINTAGE_LANG``, else the locale)
and fills in the values. A sentence without translation falls back to English; a test lists those.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

LANGUAGES = ("en", "zh")


def language() -> str:
    """``zh`` or ``en``: MINTAGE_LANG, else LC_ALL, LC_MESSAGES or LANG."""
    for name in ("MINTAGE_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(name, "")
        if value:
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


@cache
def catalogue(lang: str) -> dict[str, str]:
    """Sentence → translation; empty for English."""
    path = Path(__file__).with_name(f"words.{lang}.json")
    if lang == "en" or not path.exists():
        return {}
    words: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return words


def say(text: str, /, lang: str = "", **values: object) -> str:
    """The sentence in the person's language (or ``lang``), with ``{name}`` fields filled in."""
    sentence = catalogue(lang or language()).get(text, text)
    return sentence.format(**values) if values else sentence
