"""Tunes: MIDI files, and lists of chords in JSON.

Each file is read to one table of bars and notes (``nn/tune.py``), timed in 24ths of a quarter note. Tokens say it bar by bar
(``nn/events.py``). Transposed tunes teach too: into the keys that the data has, as often as it has them, within the
range of each voice. It does not know lyrics, pedals, bends, tuning, or how a player hurried.
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

from mintage.core.config import from_json, to_json
from mintage.core.errors import BadItem, UsageError
from mintage.core.spec import BOS, EOS, MASK, PAD, RESERVED, Item, Media, Spec, Specs
from mintage.core.words import say
from mintage.nn import midi, pianoroll, recordings, roll, steps, synth
from mintage.nn.events import KEYS, PITCHES, Layout
from mintage.nn.given import Given
from mintage.nn.noise import Noise
from mintage.nn.pace import Pace
from mintage.nn.roll import Frame
from mintage.nn.tune import (
    DRUMS,
    LOUD,
    PITCH,
    PLAIN,
    PROGRAM,
    QUARTER,
    TEMPO,
    VELOCITY,
    VOICE,
    WALK,
    Tune,
    bars,
    classes,
    excerpt,
    keys,
    metre,
    notes,
    shape,
)
from mintage.nn.twins import signature
from mintage.nn.waves import as_integers

VOICES = 12  # at most; further instruments play with the nearest one
VARIES = 0.05  # share of tunes that must vary in loudness or tempo for it to be said
LONGEST = 2048  # tokens of a made tune
HEARD = 16  # tunes of one request that are written as sound too
MINUTE = 60.0  # seconds of a tune on a page
SMOOTH = 0.02  # share of every key in what transposition aims at


class Codec:
    """MIDI files ↔ tokens."""

    suffixes = (".mid", ".midi", ".json")
    mime = "audio/midi"
    family = "gpt"
    pipeline = "text-to-audio"
    unit = "tokens"
    captioned = True
    options = ("view",)
    outputs = ("tempo", "seconds")
    certain = True  # a transposed tune is as real as the tune

    def __init__(self) -> None:
        self.given = Given()
        self.voices: list[tuple[int, int]] = [(0, 0)]  # instrument, and which of the tracks that it has in a file
        self.layout = Layout()
        self.ranges: list[tuple[int, int]] = [(0, KEYS - 1)]  # of pitches, each voice
        self.aims = np.ones(24)  # how often each key should be
        self.unused: tuple[int, ...] = ()
        self.length = LONGEST
        self.frame = Frame()
        self.view = ""  # a person's wish
        self.pace = Pace()  # likewise
        self._waiting: dict[tuple[Path, int], Any] = {}  # listed by ``items`` and not yet read

    @staticmethod
    def claims(path: Path) -> bool:
        """MIDI, and of JSON what is lists of numbers."""
        if path.suffix.lower() != ".json":
            return True
        try:
            with open(path, "rb") as file:
                return steps.looks(file.read(steps.LOOK))
        except OSError:
            return False

    def items(self, path: Path) -> Iterable[Item]:
        """One tune a MIDI file; all pieces of a file of chords, its parts as splits."""
        if path.suffix.lower() != ".json":
            yield Item("", path)
            return
        step = steps.step_of(path.stem)
        for at, (part, piece) in enumerate(steps.pieces(path.read_bytes())):
            self._waiting[path, at] = (piece, step)
            key = hashlib.blake2b(f"{step} {piece}".encode(), digest_size=16).hexdigest()
            yield Item(key, path, at, split=part)

    def read(self, item: Item) -> Tune:
        """The tune of an item."""
        if item.path.suffix.lower() != ".json":
            return midi.read(item.path.read_bytes())
        if (item.path, item.at) not in self._waiting:
            list(self.items(item.path))
        return steps.tune(*self._waiting.pop((item.path, item.at)))

    def fit(self, contents: Sequence[Tune], given: Sequence[Mapping[str, str]]) -> None:
        """The voices, what varies, the range of each voice, the keys, the tokens in use."""
        self.given.fit(given)
        tunes = [contents[i] for i in range(len(contents))]
        seen = Counter(key for tune in tunes for key in set(_tracks(tune).values()))
        self.voices = sorted(key for key, _ in seen.most_common(VOICES)) or [(0, 0)]
        loud = sum(len(set(notes(t)[:, VELOCITY].tolist())) > 1 for t in tunes) > VARIES * len(tunes)
        speeds = Counter(speed for t in tunes for speed in set(bars(t)[:, TEMPO].tolist()))
        paced = len(speeds) > 1 and speeds.most_common(1)[0][1] < (1 - VARIES) * len(tunes)
        struck = Counter(v for t in tunes for v in notes(t)[:, VELOCITY].tolist())
        common = (struck.most_common(1) or [(LOUD, 0)])[0][0], (speeds.most_common(1) or [(WALK, 0)])[0][0]
        self.layout = Layout(tuple(program for program, _ in self.voices), loud, paced, *common)
        self._measure([self._slotted(tune) for tune in tunes])
        written = Counter(metre(tune) for tune in tunes).most_common(1)
        slotted = [self._slotted(tune) for tune in tunes] or [np.zeros((0, 6), np.int32)]
        self.frame = roll.fit(slotted, written[0][0] if written else PLAIN, self.layout.programs, *common)

    def _measure(self, tunes: Sequence[Tune]) -> None:
        """Ranges, keys and tokens of tunes whose voices are ours."""
        rows = np.concatenate([notes(tune) for tune in tunes] or [np.zeros((0, 6), np.int32)])
        own = [rows[rows[:, VOICE] == voice, PITCH] for voice in range(len(self.voices))]
        self.ranges = [(int(p.min()), int(p.max())) if len(p) else (0, KEYS - 1) for p in own]
        count = np.bincount(keys(np.stack([classes(t) for t in tunes])), minlength=24) if tunes else np.ones(24)
        self.aims = count / count.sum() + SMOOTH / 12
        said = [self.layout.encode(tune) for tune in tunes]
        used = np.zeros(self.layout.vocab, bool)
        used[:RESERVED] = True
        for ids in said:
            used[ids] = True
        for voice, (low, high) in enumerate(self.ranges):  # a transposed tune may use all of a range
            if self.layout.programs[voice] != DRUMS:
                used[PITCHES + KEYS * voice + low : PITCHES + KEYS * voice + high + 1] = True
        self.unused = tuple(np.flatnonzero(~used).tolist())
        self.length = min(LONGEST, math.ceil(1.2 * np.quantile([len(ids) for ids in said] or [1], 0.99)) + 2)

    @property
    def state(self) -> dict[str, Any]:
        """All that ``fit`` learned."""
        layout = to_json(self.layout)
        return {
            "voices": [list(voice) for voice in self.voices],
            **{key: layout[key] for key in ("loud", "paced", "velocity", "tempo")},
            "ranges": [list(pair) for pair in self.ranges],
            "keys": [round(float(share), 6) for share in self.aims],
            "unused": list(self.unused),
            "longest": self.length,
            "frame": to_json(self.frame),
            **self.given.state,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what ``state`` gave."""
        self.voices = [(int(program), int(order)) for program, order in state["voices"]]
        programs = tuple(program for program, _ in self.voices)
        self.layout = Layout(programs, state["loud"], state["paced"], state["velocity"], state["tempo"])
        self.ranges = [(int(low), int(high)) for low, high in state["ranges"]]
        self.aims = np.array(state["keys"])
        self.unused, self.length = tuple(state["unused"]), int(state["longest"])
        self.frame = from_json(Frame, state["frame"])
        self.given.restore(state)

    def views(self) -> Specs:
        """One row of tokens, of which the plan chooses the length, and a piano roll of some bars."""
        names = tuple(f"voice {k + 1}" for k in range(len(self.voices)))
        pitches, rate = self.frame.pitches, QUARTER / self.frame.step
        views = {
            "tokens": Spec("tokens", (0,), ("token",), ("remi",), self.layout.vocab),
            "roll": Spec("grid", (len(names), pitches, 0), ("channel", "pitch", "time"), names, rate=rate),
        }
        return {self.view: views[self.view]} if self.view else views

    def sized(self, view: Spec, shapes: Mapping[tuple[int, ...], int], minutes: float, size: str) -> Spec:
        """Of a piano roll how many bars; of tokens nothing.

        Raises:
            UsageError: ``--size`` is no number of bars that makes a grid.
        """
        if view.kind == "tokens":
            return view
        count = int(size) if size.isascii() and size.isdecimal() and len(size) < 3 else 0
        if size and (not 1 <= count <= 32 or count * self.frame.bar % 4):
            raise UsageError(say("--size {size}: give a number of bars from 1 to 32, such as 4.", size=size))
        return view.at(time=(count or self.frame.bars) * self.frame.bar)

    def configure(self, options: Mapping[str, str]) -> None:
        """``-o view=tokens`` or ``roll``, for families that could take either; ``tempo`` and ``seconds`` of what is made.

        Raises:
            UsageError: It is neither, or no tune is that fast or that long.
        """
        self.pace = Pace.read(options)
        self.view = options.get("view", self.view)
        if self.view not in ("", "tokens", "roll"):
            raise UsageError(say("-o view={view}: choose tokens or roll.", view=self.view))

    def conditions(self) -> Specs:
        """What came with the tunes and can be asked for."""
        return self.given.specs()

    @property
    def forbid(self) -> tuple[int, ...]:
        """Ids that no sampler should draw."""
        return self.unused

    def encode_caption(self, texts: Sequence[str], spec: Spec) -> Tensor:
        """Captions → ids. [B, L] int64"""
        return self.given.encode_caption(texts, spec)

    def _slotted(self, tune: Tune) -> Tune:
        """The tune with its voices numbered as ours; an instrument that was never heard plays with the nearest one."""
        found = tune.copy()
        for voice, key in _tracks(tune).items():
            apart = [_unlike(own, key) for own in self.voices]
            near = apart.index(min(apart))
            rows = (tune[:, VOICE] == voice) & (tune[:, PITCH] >= 0)
            found[rows, VOICE], found[rows, PROGRAM] = near, self.voices[near][0]
        return found

    def encode(self, contents: Sequence[Tune], spec: Spec) -> Tensor:
        """bos, ids, eos; cut to the spec's length (0: the longest) and padded: [B, T] int32. Rolls: [B, V, P, T] uint8"""
        if spec.kind == "grid":
            length = spec.size("time")
            cells = [self.frame.encode(self._slotted(contents[i]), length) for i in range(len(contents))]
            return torch.from_numpy(np.stack(cells) if cells else np.zeros((0, *spec.shape), np.uint8))
        rows = [[BOS, *self.layout.encode(self._slotted(contents[i])), EOS] for i in range(len(contents))]
        length = spec.shape[0] or max(map(len, rows), default=0)
        out = torch.full((len(rows), length), PAD, dtype=torch.int32)
        for k, row in enumerate(rows):
            out[k, : min(len(row), length)] = torch.tensor(row[:length], dtype=torch.int32)
        return out

    def decode(self, x: Tensor, spec: Spec) -> list[Media]:
        """Ids [B, T] → tunes, each up to its eos; rolls [B, V, P, T] → tunes of some bars."""
        if spec.kind == "grid":
            values = x.float().cpu().numpy() if x.dtype != torch.uint8 else x.cpu().numpy().astype(np.float32) / 127.5 - 1
            return [Media(self.pace(self.frame.decode(row)), self.mime, ".mid") for row in values]
        return [Media(self.pace(self.layout.decode(row)), self.mime, ".mid") for row in x.tolist()]

    def cut(self, content: Tune, spec: Spec) -> list[Tune]:
        """The passages of a tune that are examples of a piano roll."""
        return roll.pieces(content, max(1, spec.size("time") // self.frame.bar))

    def begun(self, prompt: str, fills: bool) -> Tensor:
        """A file, or some bars of it (``tune.mid#1-8``), to go on from; to be filled, the pitches of a voice (``#voice=2``). [1, P]

        Raises:
            UsageError: There is no such file, part or voice.
        """
        name, part = (prompt, "") if Path(prompt).is_file() else prompt.rpartition("#")[::2]  # a name may hold a #: C#-dance.mid
        name, part = (name, part) if name else (part, "")
        try:
            tune = self.read(next(iter(self.items(Path(name)))))
        except (OSError, BadItem, StopIteration) as error:
            raise UsageError(say("--prompt {name}: give a MIDI file ({reason}).", name=name, reason=error)) from error
        bar, voice = re.fullmatch(r"(\d+)-(\d+)", part), re.fullmatch(r"voice=(\d+)", part)
        backwards = bar is not None and not 1 <= int(bar[1]) <= int(bar[2])
        if bar and not backwards:
            tune = excerpt(tune, int(bar[1]) - 1, int(bar[2]))
        ids = torch.tensor([[BOS, *self.layout.encode(self._slotted(tune))]])
        blank = (ids - PITCHES).div(KEYS, rounding_mode="floor") == int(voice[1]) - 1 if voice and fills else torch.tensor(False)
        if backwards or (part and not bar and not blank.any()) or not len(notes(tune)):
            sentence = "--prompt {prompt}: after the # write bars, as 1-8, or for a model that fills blanks a voice, as voice=2."
            raise UsageError(say(sentence, prompt=prompt))
        return torch.where(blank, MASK, ids)

    def misfits(self, prompt: Tensor) -> tuple[int, ...]:
        """Ids that no blank of a prompt may be: all but the pitches of the voices that it lacks; none where it has no blanks."""
        if not (prompt == MASK).any():
            return ()
        voices = set((prompt[prompt >= PITCHES] - PITCHES).div(KEYS, rounding_mode="floor").tolist())
        lacking = [k for k in range(len(self.voices)) if k not in voices] or list(range(len(self.voices)))
        fitting = {PITCHES + KEYS * k + key for k in lacking for key in range(KEYS)}
        return tuple(token for token in range(self.layout.vocab) if token not in fitting)

    def write(self, media: Sequence[Media], out: Path, names: Sequence[str]) -> list[Path]:
        """A MIDI file a tune, a WAV file a sound."""
        out.mkdir(parents=True, exist_ok=True)
        paths = [out / f"{name}{thing.suffix}" for name, thing in zip(names, media, strict=True)]
        for thing, path in zip(media, paths, strict=True):
            if thing.suffix == ".wav":
                path.write_bytes(recordings.encoded(thing.content, synth.RATE))
            else:
                path.write_bytes(thing.content if isinstance(thing.content, bytes) else midi.write(thing.content))
        return paths

    def heard(self, media: Sequence[Media]) -> list[Media]:
        """The first ones as sounds, to listen to."""
        sounds = (as_integers(synth.render(thing.content).mean(1)) for thing in media[:HEARD])
        return [Media(sound, f"audio/L16;rate={synth.RATE}", ".wav") for sound in sounds]

    def look(self, media: Media) -> np.ndarray:
        """Its piano roll. uint8 [H, W, 3]"""
        return pianoroll.picture(media.content)

    def play(self, media: Media) -> tuple[str, bytes]:
        """Its first minute as a browser plays it."""
        return "audio/mpeg", recordings.encoded(as_integers(synth.render(media.content, MINUTE)), synth.RATE, ".mp3")

    def augment(self, x: Tensor, spec: Spec, noise: Noise) -> Tensor:
        """Each tune in a key drawn as often as the data has it, within the range of every voice. [B, ...]"""
        if spec.kind == "grid":
            return self._transposed(x, noise)
        ids = x.numpy()
        pitched = ids >= PITCHES
        voice, pitch = np.divmod(np.where(pitched, ids - PITCHES, 0), KEYS)
        pitched &= np.array(self.layout.programs)[voice] != DRUMS
        rows = np.arange(len(ids))[:, None] * 12 + pitch % 12
        key = keys(np.bincount(rows.ravel(), pitched.ravel(), 12 * len(ids)).reshape(-1, 12))
        low, high = (np.array(ends)[voice] for ends in zip(*self.ranges, strict=True))
        down = np.where(pitched, low - pitch, -KEYS).max(1)  # the lowest shift that stays in range
        up = np.where(pitched, high - pitch, KEYS).min(1)
        shift = self._shifts(key, down, up, noise)
        return x + shift[:, None].to(x.dtype) * torch.from_numpy(pitched)

    def _shifts(self, key: np.ndarray, down: np.ndarray, up: np.ndarray, noise: Noise) -> Tensor:
        """By how much to transpose from each key, between the shifts that stay in range. [B]"""
        shifts = np.arange(-6, 6)
        tonic, minor = key % 12, key // 12
        weight = self.aims[(tonic[:, None] + shifts) % 12 + 12 * minor[:, None]]
        weight = np.where((shifts >= down[:, None]) & (shifts <= up[:, None]), weight, 0.0)
        weight[:, 6] += 1e-9  # as it is written always fits
        return torch.from_numpy(shifts)[noise.choose(torch.from_numpy(weight).log())]

    def _transposed(self, x: Tensor, noise: Noise) -> Tensor:
        """The same for rolls [B, V, P, T]: nothing may leave its voice's window, and drums stay."""
        moving = torch.tensor([program != DRUMS for program in self.layout.programs])
        rows = (x[:, moving] > 0).any(3)  # [B, V, P]
        if not rows.any():
            return x
        heard = (x[:, moving] > 0).sum((1, 3)).double()  # windows begin at a C
        fold = torch.zeros(len(x), 12, dtype=torch.float64).index_add_(1, torch.arange(x.shape[2]) % 12, heard)
        place = torch.arange(x.shape[2])
        low = torch.where(rows, place, x.shape[2]).amin((1, 2))
        high = torch.where(rows, place, -1).amax((1, 2))
        shift = self._shifts(keys(fold.numpy()), -low.numpy(), (x.shape[2] - 1 - high).numpy(), noise)
        at = (place - shift[:, None]) % x.shape[2]  # [B, P]
        turned = x.gather(2, at[:, None, :, None].expand_as(x))
        return torch.where(moving[:, None, None], turned, x)

    def fingerprint(self, contents: Sequence[Tune]) -> np.ndarray:
        """MinHash over runs of five notes, in whatever key. [N, 512] uint8"""
        rows = [signature(shape(contents[i])) for i in range(len(contents))]
        return np.stack(rows) if rows else np.zeros((0, 512), np.uint8)

    def passages(self, x: Tensor, spec: Spec) -> list[str]:
        """Tunes as texts in which copies are found in whatever key."""
        return [shape(media.content) for media in self.decode(x, spec)]

    def select(self, what: str, spec: Spec) -> Tensor:
        """``first-last``, token positions from 0 → True on them. [T] bool"""
        match = re.fullmatch(r"(\d+)-(\d+)", what.strip())
        length = spec.size("token")
        if not match or not int(match[1]) <= int(match[2]) < length:
            raise UsageError(say("{what} is no part of {n} tokens; write first-last, counted from 0.", what=what, n=length))
        mask = torch.zeros(length, dtype=torch.bool)
        mask[int(match[1]) : int(match[2]) + 1] = True
        return mask


def _tracks(tune: Tune) -> dict[int, tuple[int, int]]:
    """Of each voice of a file its instrument, and which of the file's tracks with it this is."""
    own = notes(tune)
    voices, first = np.unique(own[:, VOICE], return_index=True)
    found: dict[int, tuple[int, int]] = {}
    heard: Counter[int] = Counter()
    for voice, program in zip(voices.tolist(), own[first, PROGRAM].tolist(), strict=True):
        found[voice] = (program, heard[program])
        heard[program] += 1
    return found


def _unlike(one: tuple[int, int], other: tuple[int, int]) -> tuple[bool, bool, bool, int]:
    """How far apart two instruments are: drums from the rest first, then family, then instrument, then place."""
    return (
        (one[0] == DRUMS) != (other[0] == DRUMS),
        one[0] // 8 != other[0] // 8,
        one[0] != other[0],
        abs(one[1] - other[1]),
    )
