"""Clip files ↔ frames: MP4, WebM and AVI by FFmpeg's libraries (PyAV), GIF and WebP by Pillow.

Which of the two reads a file is decided by its first bytes, not by its name. Only containers that cannot name other
files or addresses are opened (no playlists). Sizes and lengths are checked before anything is decoded, and again on
what comes out, for a header may lie; a file that ends early is refused. Frames are taken at an even pace by their own
times: the latest one at each tick. It does not hear sound, and of a file with several tracks it reads the first.
"""

from __future__ import annotations

import hashlib
import struct
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from mintage.core.errors import BadItem
from mintage.core.words import say

OWN = float("inf")  # frames a second: as many as there are
PACE = 12.5  # frames a second near which a clip is taken, where nobody asks
PIXELS = 9_000_000  # of a frame: a little more than UHD
FRAMES = 10_000  # looked at in one file
WORK = 8_000_000_000  # pixels decoded from one file
KEPT = 3_000  # frames taken from one file
REPEATED = 1_000_000_000  # bytes to which joined frames are parted
PATIENCE = 4.0  # seconds without a single frame
WHOLE = 0.9  # of the length that the header claims must be there
ROTTEN = 0.1  # share of frames that may be concealed damage
GAP = 2.0  # seconds; a longer jump in the times of frames is a cut and not a pause
CONTAINERS = "mov,mp4,matroska,webm,avi"
STILLS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # of frame folders
DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, AttributeError, MemoryError, ArithmeticError, struct.error,
    zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip

Shot = tuple[float, Callable[[], np.ndarray]]  # seconds from the start, and the frame once somebody wants it [H, W, 3]


class Clip(NamedTuple):
    """Frames at an even pace."""

    frames: np.ndarray  # [T, H, W, 3] uint8
    rate: float  # frames a second
    whole: bool  # false where the file is longer than what is taken


def read(path: Path, side: int = 0, fps: float = 0.0) -> Clip:
    """The frames of a clip file.

    Args:
        path: The file.
        side: Longest short side; larger frames are reduced. 0 leaves them.
        fps: Frames a second; 0 takes every frame, every second one … so that about ``PACE`` are left.

    Raises:
        BadItem: It is no clip or a damaged one, with the reason.
    """
    with open(path, "rb") as file:
        head = file.read(64)
    if not any(head):
        raise BadItem(say("the file holds only zero bytes") if head else say("the file is empty"))
    try:
        by_pillow = head[:4] == b"GIF8" or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        return _animation(path, side, fps) if by_pillow else _film(path, side, fps)
    except UnidentifiedImageError:
        raise BadItem(say("no clip format is recognised in it")) from None
    except DAMAGE as error:
        raise BadItem(_why(error, head)) from error


def several(path: Path) -> bool:
    """Whether a GIF or WebP file has more than one frame."""
    try:
        with warnings.catch_warnings(), Image.open(path, formats=("GIF", "WEBP")) as picture:
            warnings.simplefilter("ignore")
            picture.seek(1)
            return True
    except DAMAGE:
        return False


def stills(paths: Sequence[Path], side: int = 0) -> np.ndarray:
    """Picture files as the frames of one clip, all fitted to the first one's size. [T, H, W, 3] uint8"""
    found: list[np.ndarray] = []
    for path in paths[:KEPT]:
        try:
            with Image.open(path, formats=STILLS) as picture:
                _refuse_size(*picture.size)
                frame = _reduced(picture, side)
        except (UnidentifiedImageError, *DAMAGE):
            raise BadItem(say("its frame {name} is damaged or no picture", name=path.name)) from None
        if found and frame.shape != found[0].shape:
            frame = np.asarray(Image.fromarray(frame).resize(found[0].shape[1::-1], Image.Resampling.LANCZOS))
        found.append(frame)
    return _stacked(found)


def paced(shots: Iterator[Shot], fps: float, most: int = KEPT) -> Iterator[np.ndarray]:
    """The latest frame at each tick of an even clock."""
    tick, start, before, given = 1 / fps, 0.0, None, 0
    for now, look in shots:
        start = now if before is None else start
        if before is not None and not before[0] < now <= before[0] + GAP:  # times that stand still, go back or jump
            start += now - before[0] - tick
        while before is not None and given * tick < now - start - 0.25 * tick:
            yield before[1]()
            given += 1
            if given == most:
                return
        before = now, look
    while before is not None and given * tick <= before[0] - start + 0.05 * tick:
        yield before[1]()
        given += 1


def pace(rate: float, fps: float) -> float:
    """Frames a second to take of a clip that has ``rate``: as asked (``OWN``: all), else a whole step near ``PACE``."""
    if fps:
        return rate if fps == OWN else fps
    return rate / max(1, round(rate / PACE))


def _animation(path: Path, side: int, fps: float) -> Clip:
    """GIF and WebP."""
    data = path.read_bytes()
    if data[:4] == b"RIFF" and 8 + int.from_bytes(data[4:8], "little") > len(data) + 1:
        raise BadItem(say("the clip is cut off before its end"))
    if data[:4] == b"GIF8" and not data.rstrip(b"\0\n\r").endswith(b";"):
        raise BadItem(say("the clip is cut off before its end"))
    shots: list[Shot] = []
    with warnings.catch_warnings(), Image.open(path, formats=("GIF", "WEBP")) as picture:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        _refuse_size(*picture.size)
        now, most, begin = 0.0, _most(*picture.size), time.monotonic()
        while len(shots) < min(most, KEPT):
            if time.monotonic() - begin > PATIENCE and len(shots) < 2:
                raise BadItem(say("it takes too long to decode"))
            frame = _reduced(picture, side)
            shots.append((now, partial(np.asarray, frame)))
            now += (float(picture.info.get("duration", 0)) or 100.0) / 1000  # as browsers do
            try:
                picture.seek(len(shots))
            except EOFError:
                break
    shortest = max(0.01, min(np.diff([*(t for t, _ in shots), now])))  # encoders join frames that are alike
    if now - shots[-1][0] > 1.5 * shortest:
        shots.append((now - shortest, shots[-1][1]))
    rate = pace(1 / shortest, fps)
    return Clip(_stacked(list(paced(iter(shots), rate))), rate, len(shots) < min(most, KEPT))


def _film(path: Path, side: int, fps: float) -> Clip:
    """Everything that FFmpeg reads."""
    import av  # heavy, and needed for clips alone

    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    with av.open(str(path), options=options, timeout=PATIENCE, metadata_errors="ignore") as container:
        if not container.streams.video:
            raise BadItem(say("it holds no pictures, only sound or data"))
        stream = container.streams.video[0]
        context = stream.codec_context
        if context is None:
            raise BadItem(say("no clip format is recognised in it"))
        _refuse_size(context.width, context.height)
        context.options = {"max_pixels": str(PIXELS)}
        context.thread_count = 1
        guess = float(stream.average_rate or stream.guessed_rate or 25)
        rate = pace(min(max(guess, 0.5), 240.0), fps)
        most = _most(context.width, context.height)
        count = _Count()
        frames = _stacked(list(paced(_decoded(container, stream, side, most, count), rate)))
        limited = len(frames) >= KEPT or count.seen >= most
        claimed = _claimed(container, stream)
    if not limited and count.until + 2 / guess < WHOLE * claimed:
        numbers: dict[str, Any] = {"claimed": round(claimed, 1), "found": round(count.until, 1)}
        raise BadItem(say("the clip is cut off: its header claims {claimed} seconds, and {found} are there", **numbers))
    if count.rotten > ROTTEN * count.seen:
        raise BadItem(say("{n} of its {all} frames are damaged", n=count.rotten, all=count.seen))
    return Clip(frames, rate, not limited)


class _Count:
    """What a decoder saw."""

    seen = 0
    rotten = 0
    until = 0.0  # seconds


def _decoded(container: Any, stream: Any, side: int, most: int, count: _Count) -> Iterator[Shot]:
    """Frames with their times, as long as there are some and not too many."""
    begin, first = time.monotonic(), None
    for packet in container.demux(stream):
        if time.monotonic() - begin > PATIENCE and not count.seen:
            raise BadItem(say("it takes too long to decode"))
        for frame in packet.decode():
            _refuse_size(frame.width, frame.height)
            now = frame.time if frame.time is not None else count.until
            first = now if first is None else first
            count.seen, count.rotten = count.seen + 1, count.rotten + bool(frame.is_corrupt)
            count.until = max(count.until, now - first)
            yield now - first, partial(_pixels, frame, side)
            if count.seen >= most:
                return


def _pixels(frame: Any, side: int) -> np.ndarray:
    """One decoded frame, upright and reduced. [H, W, 3] uint8"""
    width, height = frame.width, frame.height
    if side and min(width, height) > side:
        scale = side / min(width, height)
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
    plain: np.ndarray = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4  # as the camera says
    return np.ascontiguousarray(np.rot90(plain, turns)) if turns else plain


def _claimed(container: Any, stream: Any) -> float:
    """Seconds that the header promises; 0 where it says nothing about the pictures alone."""
    if stream.frames:
        return float(stream.frames / (stream.average_rate or 25))
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return 0.0 if container.streams.audio or not container.duration else container.duration / 1e6


def _most(width: int, height: int) -> int:
    return max(2, min(FRAMES, WORK // max(1, width * height)))


def _refuse_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise BadItem(say("its header gives no frame size"))
    if width * height > PIXELS:
        raise BadItem(say("it claims frames of {w} × {h} pixels, and the limit is 9 million", w=width, h=height))
    if max(width, height) > 50 * min(width, height):
        raise BadItem(say("frames of {w} × {h} pixels are lines and not pictures", w=width, h=height))


def _reduced(picture: Image.Image, side: int) -> np.ndarray:
    """One frame of Pillow's: transparency over white, reduced. [H, W, 3] uint8"""
    plain: Image.Image = picture
    if picture.has_transparency_data:
        plain = picture.convert("RGBA")
        plain = Image.alpha_composite(Image.new("RGBA", plain.size, (255, 255, 255, 255)), plain)
    plain = plain.convert("RGB")
    if side and min(plain.size) > side:
        scale = side / min(plain.size)
        size = (max(1, round(plain.width * scale)), max(1, round(plain.height * scale)))
        plain = plain.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    return np.array(plain)


def _stacked(frames: Sequence[np.ndarray]) -> np.ndarray:
    """[T, H, W, 3], if they are a clip."""
    if len(frames) < 2:
        raise BadItem(
            say("it holds a single frame, which makes it a picture and not a clip") if frames else say("it holds no frame")
        )
    if any(frame.shape != frames[0].shape for frame in frames):
        raise BadItem(say("the size of its frames changes on the way"))
    return np.stack(frames)


def _why(error: BaseException, head: bytes) -> str:
    printable = sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)
    if isinstance(error, PermissionError):
        return say("it may not be read (permission denied)")
    if printable == len(head):
        return say("it holds text and not a clip")
    text = getattr(error, "strerror", "") or str(error)
    if "runcated" in text or isinstance(error, EOFError):
        return say("the clip is cut off before its end")
    return say("no clip can be read from it ({error})", error=text or type(error).__name__)


def write_mp4(frames: np.ndarray, rate: float, path: Path) -> None:
    """H.264 in MP4, as every player wants it: even sides (a white edge where they are odd), 4:2:0, one thread. [T, H, W, C]"""
    import av  # heavy, and needed for clips alone

    frames = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), constant_values=255)
    frames = np.ascontiguousarray(np.broadcast_to(frames, (*frames.shape[:3], 3)))
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000), options={"crf": "12"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.codec_context.thread_count = "yuv420p", 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def write_webp(frames: np.ndarray, rate: float, file: Any, exact: bool = True) -> None:
    """Animated WebP that runs for ever, without loss where ``exact``. ``file`` is a path or a stream. [T, H, W, C]"""
    first, *rest = [Image.fromarray(frame[..., 0] if frame.shape[2] == 1 else frame).convert("RGB") for frame in frames]
    how: dict[str, Any] = {"lossless": True, "exact": True, "method": 2} if exact else {"quality": 80, "method": 2}
    first.save(file, "WEBP", save_all=True, append_images=rest, duration=round(1000 / rate), loop=0, minimize_size=False, **how)


def write_gif(frames: np.ndarray, rate: float, path: Path) -> None:
    """GIF that runs for ever: 256 colours for the whole clip, times in hundredths of a second. [T, H, W, C]"""
    colours = np.broadcast_to(frames, (*frames.shape[:3], 3))
    palette = Image.fromarray(colours.reshape(-1, *colours.shape[2:])).quantize(256, Image.Quantize.MEDIANCUT)
    first, *rest = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in colours]
    wait = max(20, 10 * round(100 / rate))  # browsers slow down what is faster
    first.save(path, "GIF", save_all=True, append_images=rest, duration=wait, loop=0, optimize=False)


WRITERS: dict[str, Callable[[np.ndarray, float, Path], None]] = {".mp4": write_mp4, ".webp": write_webp, ".gif": write_gif}
LOSSY = (".mp4", ".gif")  # of our files: those whose frames are not what was made, to the bit


def write(frames: np.ndarray, rate: float, path: Path) -> None:
    """A clip in the format that the file's name says. [T, H, W, C]"""
    WRITERS[path.suffix](frames, rate, path)


def shown(path: Path, count: int = 0) -> np.ndarray:
    """All frames of a file of our own, as they are; of ``count``, also those that the encoder joined. [T, H, W, 3] uint8"""
    with open(path, "rb") as file:
        head = file.read(12)
    if head[:4] not in (b"RIFF", b"GIF8"):
        return _film(path, 0, OWN).frames
    return _parted(path, count) if count > 0 else _animation(path, 0, OWN).frames


def _stored(path: Path) -> tuple[np.ndarray, list[float]]:
    """Frames of a WebP or GIF as they are stored [T, H, W, 3] uint8, and how long each stands."""
    with warnings.catch_warnings(), Image.open(path, formats=("WEBP", "GIF")) as picture:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        _refuse_size(*picture.size)
        stored, waits = list[np.ndarray](), list[float]()
        for k in range(min(getattr(picture, "n_frames", 1), _most(*picture.size), KEPT)):
            picture.seek(k)
            stored.append(_reduced(picture, 0))
            waits.append(float(picture.info.get("duration", 0)))
    return np.stack(stored), waits


def _parted(path: Path, count: int) -> np.ndarray:
    """Frames of a WebP or GIF, each as often as its time says: equal neighbours are stored as one. [T, H, W, 3] uint8"""
    frames, waits = _stored(path)
    tick = sum(waits) / count
    if count * frames[0].size > REPEATED:
        return frames
    if len(frames) == 1:  # a still clip, of which the encoder makes a picture
        return np.repeat(frames, count, 0)
    return np.repeat(frames, [max(1, round(wait / tick)) if tick else 1 for wait in waits], 0)


def digest(path: Path) -> str:
    """Hash of what a lossy file of ours shows: of MP4 the brightness, which all decoders give alike (H.264 is exact)."""
    import av  # heavy, and needed for clips alone

    found = hashlib.sha256()
    if path.suffix.lower() == ".gif":
        frames, waits = _stored(path)
        return hashlib.sha256(frames.tobytes() + repr(waits).encode()).hexdigest()
    with av.open(str(path), options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}) as container:
        for frame in container.decode(video=0):
            plane = frame.planes[0]
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]
            found.update(rows.tobytes())
    return found.hexdigest()
