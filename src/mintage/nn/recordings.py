"""Sound files in and out: opened by libsndfile, checked by their headers first, refused with a reason.

A cut-off file is told from a whole one by what its container promises: the chunks of a WAV (RIFF), the count of a FLAC or
MP3, the last page of an Ogg; a header that promises nothing is mended (``nn/mended.py``). It does not repair anything else and
does not read formats that libsndfile does not know (M4A, WMA).
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mintage.core.errors import BadItem
from mintage.core.spec import Media
from mintage.core.store import content_hash
from mintage.core.words import say
from mintage.nn.mended import STREAMED, chunk, mended

if TYPE_CHECKING:
    from soundfile import SoundFile

FORMATS = ("WAV", "WAVEX", "RF64", "W64", "FLAC", "OGG", "MP3", "AIFF")
SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff")
RATES = (2_000, 384_000)
CHANNELS = 16
HOURS = 5.0
WRITTEN = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".mp3": ("MP3", "MPEG_LAYER_III"), ".ogg": ("OGG", "VORBIS")}
LOSSY = (".mp3", ".ogg")

Wave = NDArray[np.float32]


def opened(path: Path) -> SoundFile:
    """The file, open, with a header that can be believed.

    Raises:
        BadItem: It is no sound file, or it claims what cannot be.
    """
    import soundfile

    _whole(path)
    try:
        sound = soundfile.SoundFile(mended(path) or path)
    except (soundfile.LibsndfileError, TypeError, ValueError, RuntimeError) as error:
        raise BadItem(_what_is_it(path, error)) from error
    problem = _problem(sound)
    if problem:
        sound.close()
        raise BadItem(problem)
    return sound


def _problem(sound: SoundFile) -> str:
    if sound.format not in FORMATS:
        return say("{kind} files are not read", kind=sound.format)
    if not RATES[0] <= sound.samplerate <= RATES[1]:
        return say("it claims {rate} samples a second", rate=sound.samplerate)
    if sound.channels > CHANNELS:
        return say("it claims {n} channels, and the limit is {most}", n=sound.channels, most=CHANNELS)
    if sound.frames <= 0:
        return say("it holds no sound")
    hours = sound.frames / sound.samplerate / 3600
    if hours > HOURS:
        return say("it claims {hours} hours, and the limit is {most}", hours=f"{hours:.3g}", most=f"{HOURS:g}")
    return ""


def stretch(sound: SoundFile, start: int, count: int) -> Wave:
    """``count`` samples from ``start`` on, all channels mixed down. [count]

    Raises:
        BadItem: They are not there, or damaged.
    """
    import soundfile

    try:
        sound.seek(start)
        found = sound.read(count, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, ValueError, MemoryError) as error:
        raise BadItem(say("the sound is damaged ({error})", error=str(error).rstrip("."))) from error
    if len(found) < count:
        raise BadItem(say("the sound is cut off before its end"))
    if not np.isfinite(found).all():
        raise BadItem(say("it holds values that are not numbers"))
    mixed: Wave = found.mean(1)
    return mixed


def samples_of(path: Path) -> tuple[NDArray[np.int16], int]:
    """A whole file as 16-bit samples, exactly where it is stored as such, and their rate.

    Raises:
        BadItem: It cannot be read.
    """
    with opened(path) as sound:
        found: NDArray[np.int16] = sound.read(dtype="int16", always_2d=True)[:, 0]
        return found, sound.samplerate


def digest(path: Path) -> str:
    """Hash of what a file plays."""
    return content_hash(samples_of(path)[0])


def rate_of(media: Media) -> int:
    """Samples a second of a sound in memory, which its type says."""
    return int(media.mime.partition("rate=")[2])


def encoded(samples: NDArray[np.int16], rate: int, suffix: str = ".wav") -> bytes:
    """A whole file in memory, of samples [N] or of channels beside each other [N, C]."""
    import soundfile

    form, kind = WRITTEN[suffix]
    target = io.BytesIO()
    with soundfile.SoundFile(target, "w", rate, max(1, samples[:1].size), kind, format=form) as sound:
        for start in range(0, len(samples), rate):  # in parts: the Vorbis encoder takes a long block on its stack
            sound.write(samples[start : start + rate])
    return target.getvalue()


def _whole(path: Path) -> None:
    """What a container says about its own end."""
    size = path.stat().st_size
    if not size:
        raise BadItem(say("the file is empty"))
    with open(path, "rb") as file:
        head = file.read(12)
        cut = False
        if head[:4] in (b"RIFF", b"FORM") and head[8:12] in (b"WAVE", b"AIFF", b"AIFC"):
            at, length = chunk(file, "<I" if head[:4] == b"RIFF" else ">I")
            cut = length not in STREAMED and at + 8 + length > size
        elif head[:4] == b"OggS":
            file.seek(max(0, size - (1 << 17)))
            tail = file.read()
            last = tail.rfind(b"OggS")
            cut = last < 0 or last + 6 > len(tail) or not tail[last + 5] & 4  # the page that ends the stream
    if cut:
        raise BadItem(say("the sound is cut off before its end"))


def _what_is_it(path: Path, error: BaseException) -> str:
    """Why a file that no decoder takes was refused."""
    with open(path, "rb") as file:
        head = file.read(512)
    if not any(head):
        return say("the file holds only zero bytes")
    printable = sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)
    if printable > 0.95 * len(head):
        return say("it holds text and not a sound")
    if head[:4] in (b"RIFF", b"fLaC", b"OggS", b"FORM") or head[:3] == b"ID3":
        return say("the sound is damaged ({error})", error=str(error).partition(": ")[2].rstrip(".") or type(error).__name__)
    return say("no sound format is recognised in it")
