"""Says that a thing was made by AI, visibly and in its metadata, as GB 45438-2025 asks for (§5, §6 and Annex E).

Pictures, and all frames of a clip, get a strip under them, never over them, with ``AI生成`` in our own pixel letters at least a
twentieth of the short side high; where there is room, ``AI-generated`` follows. Texts get a first line, tunes a text event
and the names of their tracks, sounds the letters AI in Morse after them (``nn/morse.py``), tables a name that says it. The
implicit label is the ``AIGC`` entry with its seven fields; our own reader cuts the visible one off again. Provider codes of
27 characters are given to registered organisations only: set yours as MINTAGE_PRODUCER.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mintage.core.spec import Media, Sample
from mintage.nn import midi, morse
from mintage.nn.recordings import rate_of
from mintage.trust import carriers
from mintage.trust.gate import Gate as Base

WORDS = "AI生成 / AI-generated"
NAMED, TABLES = "AI-generated", (".csv", ".tsv", ".parquet")  # what the name of a table says, in which a line would be a row
INK = 0.05  # of the short side
LETTERS = {
    "A": ("...#...", "...#...", "..#.#..", "..#.#..", ".#...#.", ".#...#.", ".#...#.", ".#####.", "#.....#", "#.....#", "#.....#"),
    "I": ("###", ".#.", ".#.", ".#.", ".#.", ".#.", ".#.", ".#.", ".#.", ".#.", "###"),
    "生": (
        "..#..#.....", "..#..#.....", "..#########", ".#...#.....", "#....#.....", "..########.",
        ".....#.....", ".....#.....", ".....#.....", ".....#.....", "###########",
    ),
    "成": (
        "......#.#..", "......#..#.", ".##########", ".#....#....", ".#....#..#.", ".####.#..#.",
        ".#..#..#.#.", ".#..#..##..", ".#..#..#..#", "#..##.#.#.#", "#....#...##",
    ),
}  # fmt: skip
HIGH = 11  # rows of a letter
ALLOWED = re.compile(r"[^\x21\x23-\x5b\x5d-\x7e]")
FIELDS = ("Label", "ContentProducer", "ProduceID", "ReservedCode1", "ContentPropagator", "PropagateID", "ReservedCode2")


def letters(scale: int) -> np.ndarray:
    """``AI生成`` as ink. [11·scale, W] bool"""
    rows = [".".join(LETTERS[c][row] for c in "AI生成") for row in range(HIGH)]
    ink = np.array([[cell == "#" for cell in row] for row in rows])
    return np.kron(ink, np.ones((scale, scale), bool)).astype(bool)


def strip(width: int, height: int) -> np.ndarray:
    """The label for a picture of this size, at least as wide as it. [H, W] uint8"""
    scale = max(1, math.ceil(INK * min(width, height) / HIGH))
    ink, gap = letters(scale), 2 * scale
    canvas = np.full((ink.shape[0] + 2 * gap, max(width, ink.shape[1] + 2)), 255, np.uint8)
    canvas[gap : gap + ink.shape[0], 1 : 1 + ink.shape[1]][ink] = 40
    font = ImageFont.load_default(HIGH * scale)
    if ink.shape[1] + 3 * gap + font.getlength("AI-generated") <= width:
        picture = Image.fromarray(canvas)
        at = (ink.shape[1] + 3 * gap, gap + ink.shape[0] // 2)
        ImageDraw.Draw(picture).text(at, "AI-generated", fill=110, font=font, anchor="lm")
        canvas = np.array(picture)
    return canvas


def box(width: int, height: int) -> tuple[int, int, int, int]:
    """Where the picture lies in its labelled file: left, top, width, height."""
    return ((strip(width, height).shape[1] - width) // 2, 0, width, height)


def name_of(run: Mapping[str, Any]) -> str:
    """Name of the model by its card: data and family."""
    recipe = run.get("recipe", {})
    parts = [Path(str(recipe.get("data", ""))).stem, recipe.get("family", "")]
    return str(run.get("name") or "-".join(part for part in parts if part) or "model")


def implicit(sample: Sample | None, run: Mapping[str, Any]) -> str:
    """The Annex E label as wrapped JSON: printable ASCII values without space, quote or backslash."""
    producer = str(run.get("producer") or os.environ.get("MINTAGE_PRODUCER") or "MINTAGE-LOCAL")
    content = sample.content_hash if sample else ""
    number = f"{name_of(run)}-{sample.seed}-{content[:16]}" if sample else f"{name_of(run)}-sheet"
    values = ("1", producer, number, f"sha256:{content}" if content else "none", producer, number, "none")
    clean = {key: ALLOWED.sub("_", value) for key, value in zip(FIELDS, values, strict=True)}
    return json.dumps({"AIGC": clean}, separators=(",", ":"))


class Gate(Base):
    """Visible label before the encoder, implicit label after it."""

    def mark(self, media: Media) -> Media:
        """The thing with its visible label."""
        if media.mime == "text/plain":
            return Media(f"{WORDS}\n\n{media.content}", media.mime, media.suffix)
        if media.mime == "audio/midi":
            return Media(midi.write(media.content, WORDS), media.mime, media.suffix)
        if media.mime.startswith("audio/"):
            return replace(media, content=morse.signed(media.content, rate_of(media)))
        if not media.mime.startswith(("image/", "video/")):
            return media
        frames = media.content[None] if media.content.ndim < 4 else media.content  # [T, H, W] or [T, H, W, C]
        height, width = frames.shape[1:3]
        below = strip(width, height)
        left = box(width, height)[0]
        canvas = np.full((len(frames), height + below.shape[0], below.shape[1], *frames.shape[3:]), 255, np.uint8)
        canvas[:, :height, left : left + width] = frames
        canvas[:, height:] = below if frames.ndim == 3 else below[..., None]
        return Media(canvas if media.content.ndim == 4 else canvas[0], media.mime, media.suffix)

    def file(self, path: Path, sample: Sample | None, run: Mapping[str, Any]) -> None:
        """Write the implicit label."""
        carriers.write(path, {"AIGC": implicit(sample, run)})
