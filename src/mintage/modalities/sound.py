"""Sounds: speech, effects, noises, loops, any rate, mono or stereo.

A clip is one item, without the silence at its ends; a recording of more than ten seconds is cut into pieces, which stay
in one split. The canonical form is mono, 16 bits, at 24,000 samples a second. What is modelled is a log-mel grid with 80
frames a second over the band that the data really fills (to 4, 8 or 12 kHz); silence lies on its rail, so that a model
learns how long a sound is. The way back is ``nn/spectral.py``. It does not know words, pitch or where a stereo sound
stood, and keeps nothing above 12 kHz.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mintage.core.errors import BadItem, UsageError
from mintage.core.spec import Item, Media, Spec, Specs
from mintage.core.words import say
from mintage.nn import morse, recordings, restorer, spectral
from mintage.nn.given import Given
from mintage.nn.noise import Noise
from mintage.nn.pictures import perceptual_hash
from mintage.nn.recordings import rate_of
from mintage.nn.restorer import Restorer
from mintage.nn.waves import as_floats, as_integers, bounded, faded, loudness, resampled, trimmed

RATE = 24_000  # of the canonical form
MELS = {8_000: 40, 16_000: 64, 24_000: 80}  # bands by the rate that is modelled
PACE = 80  # frames a second
WINDOW = 0.032  # seconds
LONG, PIECE = 10.0, 2.0  # seconds: what is longer is cut into pieces of so much
SHORTEST = 0.04  # seconds
TAIL, NEAR = 2.0, 0.1  # seconds in which the sign of a sound of our own lies, and to which its beginning is known
LEAST, MOST = 0.2, 10.0  # seconds that --size may be
GRAIN = 8  # a length is a multiple of so many frames
LONGEST = (1.0, 2.0, 4.0)  # seconds for under four minutes, under an hour, more
COVERED = 0.97  # share of the clips that fit in whole
TAUGHT = 12_000_000  # magnitudes from which the way back is learned: twenty minutes of speech, six of fuller sound
PROBED = 256  # clips that show band and scale
FULL = 0.9  # share of the sounds whose band is kept
EMPTY = 45.0  # decibels under the whole, at which a band counts as not filled
RANGE = 65.0  # decibels from the loudest band value down to silence
LEVEL, UNEVEN = -20.0, 12.0  # decibels: the loudness given to clips whose own differ by more than this
BOOST = 40.0  # decibels that a clip is turned up at most
PEAK = 0.89  # of what is made
HEARD = 6.0  # decibels above silence where a made sound begins and ends
RISE, FALL = 0.004, 0.015  # seconds of the fades


class Codec:
    """Sound files ↔ log-mel grids."""

    suffixes = recordings.SUFFIXES
    mime = "audio/wav"
    family = "flow"
    pipeline = "text-to-audio"
    captioned = True
    grouped = True
    named = True
    options = ("rate", "piece", "format")
    outputs = ("format",)
    share = 0.08  # of the minutes, for the way back

    def __init__(self) -> None:
        self.rate, self.wanted, self.piece, self.format = RATE, 0, PIECE, "wav"
        self.top, self.even = 0.0, False
        self.given = Given()
        self._net: Restorer | None = None

    def configure(self, options: Mapping[str, str]) -> None:
        """``rate`` is the band that is modelled, ``piece`` the seconds into which recordings are cut, ``format`` that of files.

        Raises:
            UsageError: Another rate or format, or no such length.
        """
        if rate := options.get("rate", ""):
            if rate not in map(str, MELS):
                raise UsageError(say("-o rate={rate}: choose {rates}.", rate=rate, rates=", ".join(map(str, MELS))))
            self.wanted = int(rate)
        if piece := options.get("piece", ""):
            self.piece = _seconds(piece, "-o piece=")
        self.format = options.get("format", self.format)
        if f".{self.format}" not in recordings.WRITTEN:
            names = ", ".join(suffix[1:] for suffix in recordings.WRITTEN)
            raise UsageError(say("-o format={name}: choose {names}.", name=self.format, names=names))

    def items(self, path: Path) -> Iterable[Item]:
        """A clip as it is, or the pieces of a recording; ``at`` is the piece's number from 1."""
        with recordings.opened(path) as sound:
            seconds = sound.frames / sound.samplerate
            if seconds <= max(LONG, self.piece):
                return (Item("", path),)
            tail = min(sound.frames, round(TAIL * sound.samplerate))
            end = recordings.stretch(sound, sound.frames - tail, tail)  # finds out a count that lies before thousands of pieces do
            sign = morse.begins(as_integers(end), sound.samplerate)
            seconds -= (tail - sign) / sound.samplerate if sign >= 0 else 0.0
        if seconds <= max(LONG, self.piece) + NEAR * (sign >= 0):
            return (Item("", path),)
        with open(path, "rb") as file:
            key = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=12)).hexdigest()
        return tuple(Item(f"{key}{k:08x}", path, k) for k in range(1, int(seconds / self.piece) + 1))

    def read(self, item: Item) -> np.ndarray:
        """Decode a clip or a piece: [N] int16 at 24,000 a second; or say in a BadItem why it cannot be."""
        with recordings.opened(item.path) as sound:
            start = round((item.at - 1) * self.piece * sound.samplerate) if item.at else 0
            count = round(self.piece * sound.samplerate) if item.at else sound.frames
            wave = resampled(recordings.stretch(sound, start, count), sound.samplerate, RATE)
        if not item.at and (end := morse.begins(as_integers(wave), RATE)) >= 0:
            wave = wave[:end]  # one of our own: its sign is not part of it
        heard = trimmed(wave, RATE)
        if not len(heard):
            raise BadItem(say("it is silent from beginning to end"))
        if len(heard) < SHORTEST * RATE:
            raise BadItem(
                say("it lasts {ms} ms, and {least} are the least", ms=len(heard) * 1000 // RATE, least=int(SHORTEST * 1000))
            )
        return as_integers(bounded(wave if item.at else heard, 1.0))

    def fit(self, contents: Sequence[np.ndarray], given: Sequence[Mapping[str, str]]) -> None:
        """The band that is filled, whether clips are brought to one loudness, the loudest value; classes and captions."""
        probe = [as_floats(contents[i]) for i in range(0, len(contents), -(-len(contents) // PROBED))]
        levels = np.array([loudness(wave, RATE) for wave in probe])
        self.even = bool(np.ptp(np.quantile(levels, (0.1, 0.9))) > UNEVEN)
        self.rate = self.wanted or _band(probe)
        grids = [self._decibels(wave, len(wave) * PACE // RATE + 1) for wave in probe]
        self.top = round(float(np.quantile([float(grid.quantile(0.999)) for grid in grids], 0.9)), 2)
        self.given.fit(given)

    @property
    def state(self) -> dict[str, Any]:
        """Rate, scale, format, classes, vocabulary."""
        return {"rate": self.rate, "top": self.top, "even": self.even, "format": self.format, **self.given.state}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what ``state`` gave."""
        self.rate, self.top, self.even = int(state["rate"]), float(state["top"]), bool(state["even"])
        self.format = str(state["format"])
        self.given.restore(state)

    def views(self) -> Specs:
        """One log-mel grid; the plan chooses how long."""
        return {"grid": Spec("grid", (1, MELS[self.rate], 0), ("channel", "mel", "time"), ("log-mel",), rate=PACE)}

    def conditions(self) -> Specs:
        """What came with the sounds and can be asked for: ``class`` (names in ``channels``) and ``caption``."""
        return self.given.specs()

    @property
    def unit(self) -> str:
        """Of its sizes."""
        return say("bands × frames")

    def guesses(self, contents: Sequence[np.ndarray]) -> list[tuple[str, str, str, str]]:
        """The length at which a few minutes would learn them, and the band."""
        n = _frames(Counter(content.shape for content in contents), LONGEST[1])
        probe = [as_floats(contents[i]) for i in range(0, len(contents), -(-len(contents) // PROBED))]
        why = say("nearly all clips fit in, at most {most} s", most=f"{LONGEST[1]:g}")
        return [
            (say("length"), f"{n / PACE:g} s", why, "--size"),
            (say("rate"), f"{self.wanted or _band(probe)}", say("the band that they fill"), "-o rate="),
        ]

    def sized(self, view: Spec, shapes: Mapping[tuple[int, ...], int], minutes: float, size: str) -> Spec:
        """How long: as asked (``1s``, ``800ms``), else so that nearly all clips fit in, capped by what the minutes can learn.

        Raises:
            UsageError: ``size`` is no length from 0.2 to 10 s, or longer than the pieces of recordings.
        """
        if not size:
            return view.at(time=_frames(shapes, LONGEST[0] if minutes < 4 else LONGEST[1] if minutes < 60 else LONGEST[2]))
        seconds, longest = _seconds(size, "--size "), max(shape[0] for shape in shapes) / RATE
        if seconds > longest + 0.5:
            sentence = "--size {size}: the longest clip or piece has {longest} s; choose less, or longer pieces by -o piece={size}."
            raise UsageError(say(sentence, size=size, longest=f"{longest:.2g}"))
        return view.at(time=max(1, round(seconds * PACE / GRAIN)) * GRAIN)

    def encode_caption(self, texts: Sequence[str], spec: Spec) -> Tensor:
        """Captions → ids, cut or padded to the spec's length; all PAD where there is none. [B, L] int64"""
        return self.given.encode_caption(texts, spec)

    def _how(self) -> spectral.Analysis:
        return spectral.Analysis(self.rate, round(WINDOW * self.rate), self.rate // PACE, MELS[self.rate])

    def _levelled(self, wave: np.ndarray) -> np.ndarray:
        """A canonical wave at the rate and the loudness that are modelled."""
        wave = resampled(wave, RATE, self.rate)
        return wave * np.float32(10 ** (min(BOOST, LEVEL - loudness(wave, self.rate)) / 20)) if self.even else wave

    def _decibels(self, wave: np.ndarray, length: int) -> Tensor:
        """Log-mel of one canonical wave, cut or filled with silence. [mels, length]"""
        wave, count = self._levelled(wave), length * self.rate // PACE
        padded = torch.from_numpy(np.pad(wave[:count], (0, max(0, count - len(wave)))))
        return spectral.log_mel(padded[None], self._how())[0]

    def paced(self, train: Sequence[np.ndarray], seconds: float) -> int:
        """Steps of ``learn`` that fill the time."""
        return max(10, int(seconds / self._lesson(train[:64], Noise("pace")).pace()))

    def learn(
        self, train: Sequence[np.ndarray], held: Sequence[np.ndarray], steps: int, noise: Noise
    ) -> tuple[dict[str, Tensor], str]:
        """Train the net of the way back; it is kept where it brings held-out sounds nearer to themselves."""
        lesson = self._lesson(train, noise)
        for k in range(steps):
            lesson.step(k / steps)
        content, net = held if len(held) else train, lesson.net.eval()
        judged = [self._tensor(content[i]) for i in range(min(len(content), restorer.JUDGED))]
        before, after = (restorer.error(judged, self._how(), self._scale(), found) for found in (None, net))
        if after > restorer.WORTH * before:
            return {}, say("The way back to sound is the plain one; {steps} steps of learning brought it no nearer.", steps=steps)
        sentence = "The way back to sound is learned: {after} dB from held-out sounds, where the plain one has {before}."
        tensors = {key: value.detach().clone() for key, value in net.state_dict().items()}
        return tensors, say(sentence, after=f"{after:.2f}", before=f"{before:.2f}")

    def _lesson(self, contents: Sequence[np.ndarray], noise: Noise) -> restorer.Lesson:
        waves, room = list[Tensor](), TAUGHT // (self._how().window // 2 + 1) * self._how().hop
        for i in noise.fork("sounds").permutation(len(contents)).tolist():
            waves.append(self._tensor(contents[i]))
            room -= len(waves[-1])
            if room <= 0:
                break
        return restorer.Lesson(self._how(), waves, self._scale(), noise)

    def _scale(self) -> tuple[float, float]:
        return self.top - RANGE, self.top

    def _tensor(self, content: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self._levelled(as_floats(content))))

    def equip(self, tensors: Mapping[str, Tensor]) -> None:
        """Put in what was learned."""
        self._net = restorer.Restorer(self._how()).eval()
        self._net.load_state_dict(dict(tensors))

    def encode(self, contents: Sequence[np.ndarray], spec: Spec) -> Tensor:
        """Each sound from its beginning, as bytes between silence and the loudest value. → [B, 1, mels, T] uint8"""
        _, mels, length = spec.shape
        x = torch.empty((len(contents), 1, mels, length), dtype=torch.uint8)
        for row, samples in zip(x, contents, strict=True):
            found = self._decibels(as_floats(samples), length)
            row[0] = ((found - self.top + RANGE) * (255 / RANGE)).round().clamp(0, 255).byte()
        return x

    def decode(self, x: Tensor, spec: Spec) -> list[Media]:
        """Floats in −1…1 (or stored uint8) [B, 1, mels, T] → sounds in memory, one at a time."""
        if x.dtype == torch.uint8:
            x = x.float() / 127.5 - 1
        kind = f"audio/L16;rate={self.rate}", f".{self.format}"
        return [Media(self._wave(grid), *kind) for grid in x[:, 0].float().clamp(-1, 1).cpu()]

    def _wave(self, grid: Tensor) -> np.ndarray:
        """One grid [mels, T] → samples without the silence around them. [N] int16"""
        up = (grid + 1) * (RANGE / 2)  # decibels above silence
        heard = (up.amax(0) > HEARD).nonzero()[:, 0].tolist() or [0]
        up = up[:, heard[0] : heard[-1] + 1]
        level = torch.where(up > 255 / 254, up + self.top - RANGE, -200.0)
        size = self._net.magnitudes(level) if self._net is not None else spectral.magnitudes(level, self._how())
        wave = spectral.phased(size, self._how()).numpy()
        return as_integers(faded(bounded(wave, PEAK), self.rate, RISE, FALL))

    def write(self, media: Sequence[Media], out: Path, names: Sequence[str]) -> list[Path]:
        """One file a sound, in the format that its suffix names."""
        out.mkdir(parents=True, exist_ok=True)
        paths = [out / f"{name}{thing.suffix}" for name, thing in zip(names, media, strict=True)]
        for thing, path in zip(media, paths, strict=True):
            path.write_bytes(recordings.encoded(thing.content, rate_of(thing), thing.suffix))
        return paths

    def look(self, media: Media) -> np.ndarray:
        """Its spectrogram, low sounds below, ink on paper. [2 · mels, frames] uint8"""
        rate = rate_of(media)
        bands = MELS.get(rate, 80)
        how = spectral.Analysis(rate, round(WINDOW * rate), rate // PACE, bands)
        wave = as_floats(media.content)
        seen = spectral.log_mel(torch.from_numpy(np.pad(wave, (0, -len(wave) % how.hop)))[None], how)[0].numpy()
        ink = ((seen - seen.max() + RANGE) / RANGE).clip(0, 1)[::-1]
        page: np.ndarray = (255 - 235 * ink).round().astype(np.uint8).repeat(2, 0).repeat(2, 1)
        return page

    def play(self, media: Media) -> tuple[str, bytes]:
        """A WAV that a browser plays."""
        return self.mime, recordings.encoded(media.content, rate_of(media))

    def augment(self, x: Tensor, spec: Spec, noise: Noise) -> Tensor:
        """Half of the batch a little louder or softer, silence kept. [B, 1, mels, T]"""
        shift = (noise.uniform((len(x), 1, 1, 1)).to(x.device) - 0.5) * (6 * 2 / RANGE)
        turn = noise.mask((len(x), 1, 1, 1), 0.5).to(x.device)
        return torch.where(turn & (x > -1), (x + shift).clamp(-1, 1), x)

    def fingerprint(self, contents: Sequence[np.ndarray]) -> np.ndarray:
        """Perceptual hash of each sound's spectrogram, whatever its loudness. [N, 8] uint8"""
        return perceptual_hash([spectral.portrait(content, RATE) for content in contents])

    def select(self, what: str, spec: Spec) -> Tensor:
        """``from-to`` in seconds, as ``0.2-0.5`` → True in that time. [mels, T] bool"""
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*s?\s*-\s*(\d+(?:\.\d+)?)\s*s?\s*", what)
        length = spec.size("time")
        start, stop = (round(float(part) * PACE) for part in match.groups()) if match else (0, 0)
        if not 0 <= start < stop <= length:
            sentence = "{what} is no part of a sound of {length} s; write from-to in seconds, as 0.1-0.3."
            raise UsageError(say(sentence, what=what, length=f"{length / PACE:g}"))
        mask = torch.zeros((spec.size("mel"), length), dtype=torch.bool)
        mask[:, start:stop] = True
        return mask


def _seconds(text: str, option: str) -> float:
    """A length of time as a person writes it."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s)?", text.strip().lower())
    seconds = float(match[1]) / (1000 if match[2] == "ms" else 1) if match else 0.0
    if not LEAST <= seconds <= MOST:
        sentence = "{option}{text}: choose a length from {least} to {most} s, as 1s or 800ms."
        raise UsageError(say(sentence, option=option, text=text, least=f"{LEAST:g}", most=f"{MOST:g}"))
    return seconds


def _frames(shapes: Mapping[tuple[int, ...], int], most: float) -> int:
    """Frames into which nearly all contents fit, and no more than ``most`` seconds."""
    lengths = sorted(shape[0] for shape, n in shapes.items() for _ in range(n))
    seconds = min(most, max(LEAST, lengths[min(len(lengths) - 1, math.ceil(COVERED * len(lengths)) - 1)] / RATE))
    return math.ceil(round(seconds * PACE / GRAIN, 3)) * GRAIN


def _band(probe: Sequence[np.ndarray]) -> int:
    """The lowest rate that keeps what nearly all sounds fill."""
    rates = list(MELS)
    found = []
    for wave in probe:
        power = np.square(np.abs(np.fft.rfft(wave)))
        total = power.sum()
        edges = (int(len(power) * 1.05 * rate / RATE) for rate in rates[:-1])
        empty = [power[edge:].sum() <= total * 10 ** (-EMPTY / 10) for edge in edges]
        found.append(next((rate for rate, none in zip(rates, empty, strict=False) if none), rates[-1]))
    return sorted(found)[math.ceil(FULL * len(found)) - 1]
