"""Clips: films, screen recordings, animations; and folders of frames where the medium is named by hand.

Each file is decoded once, at an even pace, and cut into windows of 16 frames (the first number of ``--size``). The
canonical form of a window is a uint8 array [T, H, W, 3] whose short side is at most 128. Windows of a short file
overlap by three quarters, of a longer one by half or not at all, and all of one file stay in one split. A clip shorter
than a window runs back and forth. The set is grey when at most one window in a hundred shows colour. Of a file, the
first 3,000 frames taken are used; sound is not heard.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mintage.core.errors import BadItem, UsageError
from mintage.core.spec import Item, Media, Spec, Specs
from mintage.core.words import say
from mintage.nn import footage
from mintage.nn.clips import LOOPS, filmstrip, fingerprint, lasting, looped
from mintage.nn.given import Given
from mintage.nn.noise import Noise
from mintage.nn.pictures import contact_sheet, fit, rectangle

SIDE = 128  # short side of the canonical form
LENGTH, SHORT = 16, 8  # frames of a window; of clips that mostly have fewer
OVERLAPS = ((4, 4), (16, 2))  # files of up to so many windows: how many windows begin within one
FORMATS = {"mp4": "video/mp4", "webp": "image/webp", "gif": "image/gif"}
STILLS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
SHARED = (".gif", ".webp")  # pictures have these too
SIZES, MOST = (16, 32, 48, 64, 96), (32, 64)  # side for under half an hour, and more
GREY, SPOT = 0.01, 0.005  # share of colourful windows, and of colourful pixels in one, up to which they count as grey
TINT = 24  # levels between the three colours of a pixel that encoders make of grey


class Codec:
    """Clip files ↔ uint8 grids with a time axis."""

    suffixes = (".mp4", ".webm", ".avi", ".mov", ".mkv", ".m4v", *SHARED)
    mime = "video/mp4"
    family = "flow"
    pipeline = "text-to-video"
    captioned = True
    grouped = True
    options = ("fps", "format")
    outputs = ("format", "loop")
    flags = ("size",)

    def __init__(self) -> None:
        self.channels = 3
        self.given = Given()
        self.fps, self.format, self.loop, self.window = 0.0, "mp4", "", LENGTH
        self.rate = footage.PACE
        self.notes: dict[Path, str] = {}  # what had to be done to a file, for the summary
        self._waiting: dict[tuple[Path, int], np.ndarray] = {}  # listed by ``items`` and not yet read

    def configure(self, options: Mapping[str, str]) -> None:
        """``fps``, ``format``, how a made clip becomes a ``loop``, and the number of frames in ``size``.

        Raises:
            UsageError: A value that is none of its kind.
        """
        if fps := options.get("fps", ""):
            match = re.fullmatch(r"\d+(\.\d+)?", fps, re.ASCII)
            if not match or not 1 <= float(fps) <= 60:
                raise UsageError(say("-o fps={fps}: choose a number of frames a second from 1 to 60, such as 12.5.", fps=fps))
            self.fps = float(fps)
        self.format = options.get("format", self.format)
        if self.format not in FORMATS:
            raise UsageError(say("-o format={name}: choose {names}.", name=self.format, names=", ".join(FORMATS)))
        self.loop = options.get("loop", "")
        if self.loop not in ("", *LOOPS):
            raise UsageError(say("-o loop={name}: choose {names}.", name=self.loop, names=", ".join(LOOPS)))
        if size := options.get("size", ""):
            self.window = _asked(size)[0] or self.window

    @staticmethod
    def claims(path: Path) -> bool:
        """GIF and WebP files are clips when they have several frames."""
        return path.suffix.lower() not in SHARED or footage.several(path)

    @staticmethod
    def gather(paths: Sequence[Path]) -> list[Path]:
        """Folders in place of the numbered frames in them; other files as they are."""
        count: dict[Path, int] = {}
        for path in paths:
            if path.suffix.lower() in STILLS and re.search(r"\d", path.stem):
                count[path.parent] = count.get(path.parent, 0) + 1
        folders = {folder for folder, n in count.items() if n >= 2}
        kept = [path for path in paths if path.parent not in folders or path.suffix.lower() not in STILLS]
        return sorted({*folders, *kept})

    def items(self, path: Path) -> Iterable[Item]:
        """The windows of one file, or of one folder of frames."""
        if path.is_dir():
            names = sorted((p for p in path.iterdir() if p.suffix.lower() in STILLS), key=_number)
            clip = footage.Clip(footage.stills(names, SIDE), self.fps or footage.PACE, len(names) <= footage.KEPT)
            made: dict[str, Any] = {}
        else:
            made = _made(path)
            if made.get("sheet"):
                raise BadItem(say("it is a sheet of several clips"))
            clip = footage.read(path, SIDE, self.fps)
        frames = _without_label(clip.frames, made)
        notes = [*(() if clip.whole else ("long",)), *(("brief",) if len(frames) < self.window else ())]
        self.notes[path] = " ".join(notes)
        for start in _starts(len(frames), self.window):
            window = np.ascontiguousarray(frames[start : start + self.window])
            key = hashlib.blake2b(str(window.shape).encode() + window.tobytes(), digest_size=16).hexdigest()
            self._waiting[path, start] = window
            yield Item(key, path, start, {"_rate": f"{clip.rate:.4g}"})

    def read(self, item: Item) -> np.ndarray:
        """One window. [T, H, W, 3] uint8"""
        window = self._waiting.pop((item.path, item.at), None)
        if window is None:
            found = {listed.at: self._waiting.pop((listed.path, listed.at)) for listed in self.items(item.path)}
            window = found.get(item.at)
        if window is None:
            raise BadItem(say("it has no frame {n} any more", n=item.at))
        return window

    def fit(self, contents: Sequence[np.ndarray], given: Sequence[Mapping[str, str]]) -> None:
        """Grey or colour, the pace, the classes, and the vocabulary of captions."""
        colourful = sum(_colourful(content) for content in contents)
        self.channels = 3 if colourful > GREY * len(contents) else 1
        rates = sorted(float(entry["_rate"]) for entry in given if "_rate" in entry)
        self.rate = self.fps or (rates[len(rates) // 2] if rates else footage.PACE)
        self.given.fit(given)

    @property
    def state(self) -> dict[str, Any]:
        """Channels, pace, format, classes, vocabulary."""
        return {"channels": self.channels, "rate": self.rate, "format": self.format, **self.given.state}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what ``state`` gave."""
        self.channels, self.rate, self.format = int(state["channels"]), float(state["rate"]), str(state["format"])
        self.given.restore(state)

    def views(self) -> Specs:
        """One grid; the plan chooses frames, height and width."""
        names = ("grey",) if self.channels == 1 else ("red", "green", "blue")
        axes = ("channel", "time", "height", "width")
        return {"grid": Spec("grid", (self.channels, 0, 0, 0), axes, names, rate=self.rate)}

    def conditions(self) -> Specs:
        """What came with the clips and can be asked for: ``class`` (names in ``channels``) and ``caption``."""
        return self.given.specs()

    @property
    def unit(self) -> str:
        """Of its sizes."""
        return say("frames × px")

    def guesses(self, contents: Sequence[np.ndarray]) -> list[tuple[str, str, str, str]]:
        """The size at which ten minutes would learn them."""
        shapes: dict[tuple[int, ...], int] = {}
        for content in contents:
            shapes[content.shape] = shapes.get(content.shape, 0) + 1
        length, side = _natural(shapes, MOST[0])
        why = say("frames × height × width that a few minutes can learn; frames a second with -o fps=")
        return [(say("size"), f"{length}x{side}x{side}", why, "--size")]

    def sized(self, view: Spec, shapes: Mapping[tuple[int, ...], int], minutes: float, size: str) -> Spec:
        """Frames, height and width: as asked, else the clips' own, capped by what the minutes can learn.

        Raises:
            UsageError: ``size`` is no size of a clip.
        """
        length, side = _natural(shapes, MOST[0] if minutes < 30 else MOST[1])
        frames, height, width = _asked(size) if size else (0, side, side)
        return view.at(time=frames or length, height=height, width=width)

    def encode_caption(self, texts: Sequence[str], spec: Spec) -> Tensor:
        """Captions → ids, cut or padded to the spec's length; all PAD where there is none. [B, L] int64"""
        return self.given.encode_caption(texts, spec)

    def encode(self, contents: Sequence[np.ndarray], spec: Spec) -> Tensor:
        """Centre-crop each frame to the target's aspect and reduce. → [B, C, T, H, W] uint8"""
        channels, length, height, width = spec.shape
        x = torch.empty((len(contents), channels, length, height, width), dtype=torch.uint8)
        for k, content in enumerate(contents):
            x[k] = fit(lasting(content, length), channels, height, width).movedim(0, 1)
        return x

    def decode(self, x: Tensor, spec: Spec) -> list[Media]:
        """Floats in −1…1 (or stored uint8) [B, C, T, H, W] → clips in memory, each [T, H, W, C]."""
        if x.dtype != torch.uint8:
            x = ((x.float().clamp(-1, 1) + 1) * 127.5).round().byte()
        clips = x.movedim(1, 4).contiguous().cpu().numpy()
        return [Media(looped(clip, self.loop), FORMATS[self.format], f".{self.format}") for clip in clips]

    def write(self, media: Sequence[Media], out: Path, names: Sequence[str]) -> list[Path]:
        """One MP4 (H.264), animated WebP (without loss) or GIF a clip."""
        out.mkdir(parents=True, exist_ok=True)
        paths = [out / f"{name}{thing.suffix}" for thing, name in zip(media, names, strict=True)]
        for thing, path in zip(media, paths, strict=True):
            footage.write(thing.content, self.rate, path)
        return paths

    def sheet(self, media: Sequence[Media]) -> Media:
        """All of them at once, side by side, as one clip."""
        length = max(len(thing.content) for thing in media)
        clips = [lasting(thing.content, length) for thing in media]
        pages = [contact_sheet([clip[t] if clip.shape[3] == 3 else clip[t, ..., 0] for clip in clips]) for t in range(length)]
        page = np.stack(pages)
        return Media(page if page.ndim == 4 else page[..., None], media[0].mime, media[0].suffix)

    def look(self, media: Media) -> np.ndarray:
        """Some of its frames side by side. [H, W] or [H, W, 3] uint8"""
        return filmstrip(media.content)

    def play(self, media: Media) -> tuple[str, bytes]:
        """An animated WebP, which runs by itself."""
        file = io.BytesIO()
        footage.write_webp(media.content, self.rate, file, exact=False)
        return "image/webp", file.getvalue()

    def augment(self, x: Tensor, spec: Spec, noise: Noise) -> Tensor:
        """Half of the batch mirrored. Wrong where left and right mean something: the caller measures first. [B, C, T, H, W]"""
        turn = noise.mask((len(x), 1, 1, 1, 1), 0.5).to(x.device)
        return torch.where(turn, x.flip(4), x)

    def fingerprint(self, contents: Sequence[np.ndarray]) -> np.ndarray:
        """Perceptual hashes of the mean frame and of the motion. [N, 16] uint8"""
        return fingerprint(contents)

    def select(self, what: str, spec: Spec) -> Tensor:
        """``first-last`` frames from 0, or ``left,top,right,bottom`` in pixels of all frames → True there. [T, H, W] bool"""
        length, height, width = spec.shape[1:]
        match = re.fullmatch(r"(\d+)-(\d+)", what.strip())
        mask = torch.zeros((length, height, width), dtype=torch.bool)
        if match and int(match[1]) <= int(match[2]) < length:
            mask[int(match[1]) : int(match[2]) + 1] = True
            return mask
        inside = None if match else rectangle(what, height, width)
        if inside is None:
            sentence = "{what} is no part of a clip of {n} frames of {w} × {h}; write first-last or left,top,right,bottom."
            raise UsageError(say(sentence, what=what, n=length, w=width, h=height))
        return mask | inside


def _asked(size: str) -> tuple[int, int, int]:
    """Frames (0 where none are named), height and width of ``--size``."""
    parts = size.lower().split("x")
    plain = len(parts) < 4 and all(part.isascii() and part.isdecimal() and len(part) < 4 for part in parts)
    frames, *sides = [int(part) for part in (parts if len(parts) == 3 else ["0", *parts])] if plain else [0, 0]
    if not all(8 <= side <= 128 and side % 8 == 0 for side in sides) or (len(parts) == 3 and frames not in range(4, 65, 4)):
        sentence = (
            "--size {size}: choose frames x height x width, as 16x64x64: 4 to 64 frames by fours, sides of 8 to 128 by eights."
        )
        raise UsageError(say(sentence, size=size))
    return frames, sides[0], sides[-1]


def _natural(shapes: Mapping[tuple[int, ...], int], most: int) -> tuple[int, int]:
    """Frames and side of most clips, the side at most ``most``."""
    lengths = sorted(shape[0] for shape, n in shapes.items() for _ in range(n))
    sides = sorted(min(shape[1:3]) for shape, n in shapes.items() for _ in range(n))
    side = max((s for s in SIZES if s <= min(sides[len(sides) // 2], most)), default=SIZES[0])
    usual = lengths[len(lengths) // 2]
    return (usual // 4 * 4 if usual > LENGTH else LENGTH if usual > SHORT else SHORT), side


def _starts(frames: int, window: int) -> list[int]:
    """Where windows begin: close together in a short file, end to end in a long one."""
    within = next((n for most, n in OVERLAPS if frames <= most * window), 1)
    return list(range(0, max(1, frames - window + 1), max(1, window // within)))


def _colourful(content: np.ndarray) -> bool:
    return bool((content.max(-1) - content.min(-1) > TINT).mean() > SPOT)


def _number(path: Path) -> tuple[list[int], str]:
    """Frames in the order of their numbers, 2 before 10."""
    return [int(part) for part in re.findall(r"\d+", path.stem)], path.name


def _made(path: Path) -> dict[str, Any]:
    """What stands beside a clip of our own about it; nothing beside others."""
    beside = path.with_name(path.name + ".aigc.json")
    try:
        found = json.loads(json.loads(beside.read_text(encoding="utf-8"))["mintage"])
    except (OSError, KeyError, TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _without_label(frames: np.ndarray, made: Mapping[str, Any]) -> np.ndarray:
    """A clip of our own without the strip under it."""
    try:
        left, top, width, height = map(int, made["box"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return frames
    inside = 0 <= left < left + width <= frames.shape[2] and 0 <= top < top + height <= frames.shape[1]
    return frames[:, top : top + height, left : left + width] if inside else frames
