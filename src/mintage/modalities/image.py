"""Pictures: photos, drawings, scans and icons, grey or colour.

Each file is decoded once to its canonical form: a uint8 array [H, W] (grey) or [H, W, 3] (colour) whose short side is
at most 160. EXIF rotation is applied (CIPA DC-008), transparency is laid over white, palettes and CMYK become RGB,
16 bits become 8, and of an animation the first frame is taken. The set is grey when at most one picture in a hundred
shows colour. It does not know what a picture shows, and it keeps no wide-gamut colour.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from mintage.core.errors import BadItem, UsageError
from mintage.core.spec import Item, Media, Spec, Specs
from mintage.core.words import say
from mintage.nn.footage import several
from mintage.nn.given import Given
from mintage.nn.noise import Noise
from mintage.nn.pictures import contact_sheet, fit, perceptual_hash, rectangle, runs

SIDE = 160  # short side of the canonical form
PIXELS = 40_000_000  # larger pictures are refused by their header, before anything is decoded
FRAMES = 64
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # decoders that may see a person's file
DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, MemoryError, OverflowError, struct.error,
    zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip
SIZES = (8, 16, 28, 32, 48, 64, 96, 128)
MOST = ((4, 32), (20, 48), (60, 64), (math.inf, 96))  # side for less than so many minutes
USUAL = 5.0  # minutes
GREY = 0.01  # share of colourful pictures up to which a set counts as grey


class Codec:
    """Picture files ↔ uint8 grids."""

    suffixes = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff")
    mime = "image/png"
    family = "flow"
    pipeline = "unconditional-image-generation"
    captioned = True

    def __init__(self) -> None:
        self.channels = 3
        self.given = Given()
        self.notes: dict[Path, str] = {}  # what had to be done to a file, for the summary
        Image.init()  # all decoders, before threads ask for them

    @staticmethod
    def claims(path: Path) -> bool:
        """An animation is a clip, unless somebody says otherwise."""
        return path.suffix.lower() not in (".gif", ".webp") or not several(path)

    def items(self, path: Path) -> Iterable[Item]:
        """One item a file; its id is filled in when the content is known."""
        return (Item("", path),)

    def read(self, item: Item) -> np.ndarray:
        """Decode one file to its canonical form, or say in a BadItem why it cannot be."""
        try:
            with Image.open(item.path, formats=FORMATS) as picture:
                self._refuse(picture)
                return self._canonical(picture, item.path)
        except UnidentifiedImageError:
            raise BadItem(_what_is_it(item.path)) from None
        except DAMAGE as error:
            raise BadItem(_why(error)) from error

    @staticmethod
    def _refuse(picture: Image.Image) -> None:
        width, height = picture.size
        if width * height > PIXELS:
            raise BadItem(say("it claims {w} × {h} pixels, and the limit is 40 million", w=width, h=height))
        if max(width, height) > 50 * min(width, height):
            raise BadItem(say("{w} × {h} pixels is a line and not a picture", w=width, h=height))
        frames = getattr(picture, "n_frames", 1)
        if frames > FRAMES:
            raise BadItem(say("it has {n} frames, which makes it a clip and not a picture", n=frames))

    def _canonical(self, picture: Image.Image, path: Path) -> np.ndarray:
        notes = []
        if getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO":
            notes.append("animated")
            picture.seek(0)
        box = _own_box(picture)
        if picture.format in ("JPEG", "MPO") and min(picture.size) >= 2 * SIDE:
            scale = SIDE / min(picture.size)
            picture.draft(None, (math.ceil(picture.width * scale), math.ceil(picture.height * scale)))
        orientation = picture.getexif().get(0x0112, 1)
        picture.load()
        plain = picture.crop(box) if box else picture
        if picture.mode == "CMYK":
            notes.append("cmyk")
        if picture.mode.startswith(("I", "F")):
            notes.append("deep")
            plain = Image.fromarray(_eight_bits(np.asarray(plain)))
        if plain.has_transparency_data:
            notes.append("transparent")
            plain = _over_white(plain)
        plain = plain.convert("L" if plain.mode in ("1", "L", "LA") else "RGB")
        if min(plain.size) > SIDE:
            scale = SIDE / min(plain.size)
            size = (max(1, round(plain.width * scale)), max(1, round(plain.height * scale)))
            plain = plain.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
        if orientation != 1:
            notes.append("rotated")
            plain.getexif()[0x0112] = orientation
            plain = ImageOps.exif_transpose(plain)
        if notes:
            self.notes[path] = " ".join(notes)
        return _drop_colour(np.array(plain))

    def adopt(self, rows: np.ndarray, bound: float = 0.0) -> np.ndarray:
        """The pictures in an array file: [N, H, W], [N, H, W, C] or [N, C, H, W] → uint8 [N, H, W] or [N, H, W, 3].

        Floats are taken as 0…1 or −1…1 where they fit in, other numbers as 0…``bound`` (by default their maximum).
        """
        if rows.ndim == 4 and rows.shape[1] in (1, 3) and rows.shape[3] not in (1, 3):
            rows = np.moveaxis(rows, 1, 3)
        if rows.ndim == 4 and rows.shape[3] == 1:
            rows = rows[..., 0]
        if rows.ndim not in (3, 4) or (rows.ndim == 4 and rows.shape[3] != 3) or rows.dtype.kind not in "uifb":
            shape = " × ".join(map(str, rows.shape))
            raise BadItem(say("an array of {shape} {kind} holds no pictures", shape=shape, kind=rows.dtype))
        if rows.dtype != np.uint8 or bound:
            low, high = float(rows.min(initial=0)), float(rows.max(initial=0))
            if not np.isfinite([low, high, high - low]).all():
                raise BadItem(say("it holds values that are not numbers"))
            low = -1.0 if -1 <= low < 0 and high <= 1 else min(low, 0.0)
            high = bound or (1.0 if high <= 1 and rows.dtype.kind in "fb" else 255.0 if 128 <= high <= 255 else high)
            values = rows.astype("f8" if rows.dtype.itemsize > 4 else "f4")
            rows = np.rint((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
        return rows[..., 0] if rows.ndim == 4 and bool((rows == rows[..., :1]).all()) else rows

    def fit(self, contents: Sequence[np.ndarray], given: Sequence[Mapping[str, str]]) -> None:
        """Grey or colour, the classes, and the vocabulary of captions."""
        colourful = sum(content.ndim == 3 for content in contents)
        self.channels = 3 if colourful > GREY * len(contents) else 1
        self.given.fit(given)

    @property
    def state(self) -> dict[str, Any]:
        """Channels, classes, vocabulary."""
        return {"channels": self.channels, **self.given.state}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what ``state`` gave."""
        self.channels = int(state["channels"])
        self.given.restore(state)

    def views(self) -> Specs:
        """One grid; the plan chooses height and width."""
        names = ("grey",) if self.channels == 1 else ("red", "green", "blue")
        return {"grid": Spec("grid", (self.channels, 0, 0), ("channel", "height", "width"), names)}

    def conditions(self) -> Specs:
        """What came with the pictures and can be asked for: ``class`` (names in ``channels``) and ``caption``."""
        return self.given.specs()

    @property
    def unit(self) -> str:
        """Of its sizes."""
        return say("px")

    def guesses(self, contents: Sequence[np.ndarray]) -> list[tuple[str, str, str, str]]:
        """The size at which a few minutes would learn them."""
        why = say("the pictures' own size, at most {most} for a few minutes", most=_most(USUAL))
        return [(say("size"), str(_side(_shapes(contents), _most(USUAL))), why, "--size")]

    def sized(self, view: Spec, shapes: Mapping[tuple[int, ...], int], minutes: float, size: str) -> Spec:
        """Height and width: as asked, else the pictures' own, capped by what the minutes can learn.

        Raises:
            UsageError: ``size`` is not a number of pixels from 8 to 128.
        """
        if not size:
            side = _side(shapes, _most(minutes))
            return view.at(height=side, width=side)
        sides = size.lower().split("x")
        fit = (s.isascii() and s.isdecimal() and len(s) < 4 and 8 <= int(s) <= 128 and int(s) % 4 == 0 for s in sides)
        if len(sides) > 2 or not all(fit):
            sentence = "--size {size}: choose a multiple of 4 from 8 to 128, as 64 or 64x96 (height x width)."
            raise UsageError(say(sentence, size=size))
        return view.at(height=int(sides[0]), width=int(sides[-1]))

    def look(self, media: Media) -> np.ndarray:
        """The picture itself. [H, W] or [H, W, 3] uint8"""
        picture: np.ndarray = media.content
        return picture

    def encode_caption(self, texts: Sequence[str], spec: Spec) -> Tensor:
        """Captions → ids, cut or padded to the spec's length; all PAD where there is none. [B, L] int64"""
        return self.given.encode_caption(texts, spec)

    def encode(self, contents: Sequence[np.ndarray], spec: Spec) -> Tensor:
        """Centre-crop to the target's aspect and reduce. → [B, C, H, W] uint8"""
        channels, height, width = spec.shape
        x = torch.empty((len(contents), channels, height, width), dtype=torch.uint8)
        for where, pictures in runs(contents):
            x[where] = fit(pictures, channels, height, width)
        return x

    def decode(self, x: Tensor, spec: Spec) -> list[Media]:
        """Floats in −1…1 (or stored uint8) [B, C, H, W] → pictures in memory."""
        if x.dtype != torch.uint8:
            x = ((x.float().clamp(-1, 1) + 1) * 127.5).round().byte()
        pictures = x.movedim(1, 3).contiguous().cpu().numpy()  # [B, H, W, C]
        return [Media(p[..., 0] if p.shape[2] == 1 else p, "image/png", ".png") for p in pictures]

    def write(self, media: Sequence[Media], out: Path, names: Sequence[str]) -> list[Path]:
        """One PNG a picture."""
        out.mkdir(parents=True, exist_ok=True)
        paths = [out / f"{name}.png" for name in names]
        for thing, path in zip(media, paths, strict=True):
            Image.fromarray(thing.content).save(path, compress_level=4)
        return paths

    def sheet(self, media: Sequence[Media]) -> Media:
        """All pictures on one page, small ones enlarged by a whole factor so that a person sees them."""
        return Media(contact_sheet([thing.content for thing in media]), self.mime, ".png")

    def augment(self, x: Tensor, spec: Spec, noise: Noise) -> Tensor:
        """Half of the batch mirrored. Wrong for letters, digits and clocks: the caller measures first. [B, C, H, W]"""
        turn = noise.mask((len(x), 1, 1, 1), 0.5).to(x.device)
        return torch.where(turn, x.flip(3), x)

    def fingerprint(self, contents: Sequence[np.ndarray]) -> np.ndarray:
        """Perceptual hash. [N, 8] uint8"""
        return perceptual_hash(contents)

    def select(self, what: str, spec: Spec) -> Tensor:
        """``left,top,right,bottom`` in pixels → True inside the rectangle. [H, W] bool"""
        height, width = spec.size("height"), spec.size("width")
        mask = rectangle(what, height, width)
        if mask is None:
            raise UsageError(
                say("{what} is no part of a picture of {w} × {h}; write left,top,right,bottom.", what=what, w=width, h=height)
            )
        return mask


def _own_box(picture: Image.Image) -> tuple[int, int, int, int] | None:
    """Where the picture itself lies in a file of our own, whose label is a strip beside it."""
    try:
        made = json.loads(picture.info["mintage"])
        if made.get("sheet"):
            raise BadItem(say("it is a sheet of several pictures"))
        left, top, width, height = made["box"]
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    inside = 0 <= left < left + width <= picture.width and 0 <= top < top + height <= picture.height
    return (left, top, left + width, top + height) if inside else None


def _shapes(contents: Sequence[np.ndarray]) -> Counter[tuple[int, ...]]:
    return Counter(content.shape for content in contents)


def _most(minutes: float) -> int:
    """The largest side that so many minutes can learn."""
    return next(side for under, side in MOST if minutes < under)


def _side(shapes: Mapping[tuple[int, ...], int], most: int) -> int:
    """The size at or below the short side that half of the pictures reach, and below ``most``."""
    sides = sorted(min(shape[:2]) for shape, n in shapes.items() for _ in range(n))
    return max((s for s in SIZES if s <= min(sides[len(sides) // 2], most)), default=SIZES[0])


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """16-bit integers by their full range; wider ones and floats by their own."""
    values = np.nan_to_num(values.astype(np.float64), posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    if low >= 0 and 255 < high <= 65535:
        low, high = 0.0, 65535.0
    elif low >= 0 and high <= 255:
        low, high = 0.0, 1.0 if high <= 1 else 255.0
    return np.rint((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)


def _over_white(picture: Image.Image) -> Image.Image:
    grey = picture.mode in ("1", "L", "LA")
    picture = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    flat = Image.alpha_composite(white, picture)
    return flat.convert("L" if grey else "RGB")


def _drop_colour(content: np.ndarray) -> np.ndarray:
    """[H, W, 3] whose three planes are equal → [H, W]."""
    grey = content.ndim == 3 and bool((content == content[..., :1]).all())
    return np.ascontiguousarray(content[..., 0]) if grey else content


def _what_is_it(path: Path) -> str:
    """Why a file that no picture decoder knows was refused."""
    with open(path, "rb") as file:
        head = file.read(512)
    if not head:
        return say("the file is empty")
    if not any(head):
        return say("the file holds only zero bytes")
    printable = sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)
    if printable > 0.95 * len(head):
        return say("it holds text and not a picture")
    return say("no picture format is recognised in it")


def _why(error: BaseException) -> str:
    text = str(error)
    if "truncated" in text or "Truncated" in text or isinstance(error, EOFError):
        return say("the picture is cut off before its end")
    if isinstance(error, PermissionError):
        return say("it may not be read (permission denied)")
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return say("it claims more pixels than the limit of 40 million")
    return say("the picture is damaged ({error})", error=text or type(error).__name__)
