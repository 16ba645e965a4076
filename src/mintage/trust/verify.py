"""Reads back what a file says about itself, and which layer is broken.

Verdicts: ``compliant`` (there and right), ``noncompliant`` (there and wrong), ``not_found``, ``inconclusive`` (the file
cannot be read). Without a signature, metadata can be forged: a compliant file is labelled, not proven.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mintage.core.errors import BadItem
from mintage.core.store import content_hash
from mintage.core.words import say
from mintage.nn import footage, midi, morse, recordings
from mintage.trust import carriers
from mintage.trust.label import ALLOWED, FIELDS, NAMED, TABLES, WORDS, strip

LOSS = 12.0  # grey levels that an encoder may change a strip by, on average


@dataclass(frozen=True)
class Layer:
    """What one layer says: ``implicit label``, ``visible label``, ``content`` or ``parameters``."""

    layer: str
    verdict: str
    detail: str


@dataclass(frozen=True)
class Finding:
    """What a file says about itself."""

    path: Path
    layers: tuple[Layer, ...]

    @property
    def verdict(self) -> str:
        """The worst of the layers, in the order noncompliant, inconclusive, not_found, compliant."""
        found = {layer.verdict for layer in self.layers}
        return next(word for word in ("noncompliant", "inconclusive", "not_found", "compliant") if word in found)

    @property
    def value(self) -> dict[str, Any]:
        """As JSON."""
        return {"path": str(self.path), "verdict": self.verdict, "layers": [asdict(layer) for layer in self.layers]}

    @property
    def line(self) -> str:
        """For a person, one line a layer."""
        return "\n".join([f"{self.path}: {self.verdict}", *(f"  {x.layer}: {x.verdict}. {x.detail}" for x in self.layers)])


def verify(path: Path) -> Finding:
    """Read every layer of a file."""
    return Finding(path, tuple(_layers(path)))


def _layers(path: Path) -> list[Layer]:
    try:
        words = carriers.read(path)
        made = _json(words.get("mintage", ""))
        inner, labelled = _opened(path, made)
    except (BadItem, OSError, ValueError, SyntaxError, AttributeError, Image.DecompressionBombError) as error:
        why = say("{name} cannot be read ({error})", name=path.name, error=error)
        return [Layer(layer, "inconclusive", why) for layer in ("implicit label", "visible label", "content")]
    found = [_implicit(words), _visible(labelled)]
    if "content" in made:
        same = inner is not None and content_hash(inner) == made["content"]
        if "shown" in made:  # the encoder lost something: what it shows is what must not have changed
            same = (recordings if path.suffix.lower() in recordings.SUFFIXES else footage).digest(path) == made["shown"]
        text = say("the content is what was made") if same else say("the content was changed after it was made")
        found.append(Layer("content", "compliant" if same else "noncompliant", text))
    else:
        found.append(Layer("content", "not_found", say("nothing says what the content was")))
    known = words.get("parameters", "")
    found.append(Layer("parameters", "compliant" if known else "not_found", known))
    return found


def _opened(path: Path, made: dict[str, Any]) -> tuple[Any, bool | None]:
    """The content of a file without its visible label, and whether that is there; None where nobody can say."""
    suffix = path.suffix.lower()
    if suffix in TABLES:  # a note among the rows would be a row: the name says it
        return path.read_bytes(), NAMED in path.stem
    if suffix in recordings.SUFFIXES:
        return _sound(recordings.samples_of(path)[0], made)
    frames = made.get("frames", 0)
    if suffix in footage.LOSSY or (suffix == ".webp" and (frames or footage.several(path))):
        return _clip(footage.shown(path, frames if isinstance(frames, int) else 0), made)
    if suffix in (".png", ".jpg", ".jpeg", ".webp"):
        return _picture(np.array(Image.open(path)), made)
    if suffix in (".mid", ".midi"):
        data = path.read_bytes()
        return midi.read(data, empty=True), WORDS in midi.words(data)
    return _text(path.read_bytes().decode("utf-8"))


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _implicit(words: dict[str, str]) -> Layer:
    if "AIGC" not in words:
        return Layer("implicit label", "not_found", say("there is no AIGC entry"))
    label = _json(words["AIGC"]).get("AIGC")
    if not isinstance(label, dict) or set(label) != set(FIELDS):
        return Layer("implicit label", "noncompliant", say("the AIGC entry does not have its seven fields"))
    wrong = [key for key, value in label.items() if not isinstance(value, str) or not value or ALLOWED.search(value)]
    if wrong or label["Label"] not in ("1", "2", "3"):
        fields = ", ".join(wrong) or "Label"
        return Layer("implicit label", "noncompliant", say("the fields {fields} hold what is not allowed", fields=fields))
    return Layer("implicit label", "compliant", say("made by AI, by {producer}", producer=label["ContentProducer"]))


def _visible(labelled: bool | None) -> Layer:
    if labelled is None:
        return Layer("visible label", "not_found", say("the file does not say where its visible label is"))
    if labelled:
        return Layer("visible label", "compliant", WORDS)
    return Layer("visible label", "noncompliant", say("the visible label was removed or changed"))


def _text(text: str) -> tuple[str | None, bool | None]:
    head = f"{WORDS}\n\n"
    return (text.removeprefix(head), True) if text.startswith(head) else (text, False)


def _picture(pixels: np.ndarray, made: dict[str, Any]) -> tuple[np.ndarray | None, bool | None]:
    """The content without its label, and whether the strip is as we draw it."""
    try:
        left, top, width, height = map(int, made["box"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None, None
    inner = pixels[top : top + height, left : left + width]
    if inner.shape[:2] != (height, width):
        return None, False
    expected = strip(width, height)
    below = pixels[top + height :]
    grey = below if below.ndim == 2 else below[..., 0]
    return np.ascontiguousarray(inner), grey.shape == expected.shape and bool((grey == expected).all())


def _sound(samples: np.ndarray, made: dict[str, Any]) -> tuple[np.ndarray | None, bool | None]:
    """The content without its label, and whether the label is heard after it."""
    try:
        length, rate = map(int, made["span"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None, None
    if not 0 < length <= len(samples) or not recordings.RATES[0] <= rate <= recordings.RATES[1]:
        return None, False
    return samples[:length].copy(), morse.begins(samples, rate) >= 0


def _clip(frames: np.ndarray, made: dict[str, Any]) -> tuple[np.ndarray | None, bool | None]:
    """The content without its label, and whether the strip is under every frame, but for what the encoder lost."""
    try:
        left, top, width, height = map(int, made["box"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None, None
    inner, expected = frames[:, top : top + height, left : left + width], strip(width, height)
    below = frames[:, top + height : top + height + expected.shape[0], : expected.shape[1], 0]
    if inner.shape[1:3] != (height, width) or below.shape[1:] != expected.shape:
        return None, False
    apart = np.abs(below.astype(np.float32) - expected).mean((1, 2))
    plain = next((form for form in (inner, inner[..., :1]) if content_hash(form) == made.get("content")), inner)
    return plain, bool((apart < LOSS).all())
