"""Standard MIDI files ↔ tunes (MIDI 1.0, RP-001), read and written by symusic.

A file is looked at before it is parsed: the header, its claims, its size. What we write names every track as made by AI
and says so in a text event; our own reader leaves both out. It does not keep controllers, bends, lyrics and key signatures.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mintage.core.errors import BadItem
from mintage.core.words import say
from mintage.nn.tune import (
    DENOMINATOR,
    DRUMS,
    LENGTH,
    LONGEST,
    NUMERATOR,
    PITCH,
    PROGRAM,
    QUARTER,
    START,
    TEMPO,
    VELOCITY,
    VOICE,
    Tune,
    barred,
    bars,
    joined,
    metre_ticks,
    notes,
)

BYTES = 20_000_000
NOTES = 50_000  # of one file
QUARTERS = 40_000  # of one file, some hours
TEMPOS = (10, 400)


def refuse(data: bytes) -> None:
    """Raise BadItem on what is no MIDI file by its header."""
    if not data:
        raise BadItem(say("the file is empty"))
    if not any(data[:512]):
        raise BadItem(say("the file holds only zero bytes"))
    if data[:4] == b"RIFF" and data[8:12] == b"RMID":
        raise BadItem(say("it is MIDI in a RIFF wrapper, which is not read; export it as .mid"))
    if data[:4] != b"MThd" or len(data) < 14:
        raise BadItem(say("it does not begin as a MIDI file does"))
    if len(data) > BYTES:
        raise BadItem(say("it has {n} MB, and the limit is 20 MB", n=len(data) // 1_000_000))
    division = int.from_bytes(data[12:14], "big")
    if division & 0x8000 or not division:
        raise BadItem(say("its time is in film frames and not in beats"))


def _parsed(data: bytes) -> Any:
    import symusic

    refuse(data)
    try:
        return symusic.Score.from_midi(data)
    except (RuntimeError, ValueError, IndexError, MemoryError, UnicodeDecodeError) as error:
        raise BadItem(say("it is cut off or damaged ({error})", error=str(error).split("\n")[0].strip() or "?")) from error


def words(data: bytes) -> list[str]:
    """What the text events of a file say."""
    return [marker.text for marker in _parsed(data).markers]


def read(data: bytes, empty: bool = False) -> Tune:
    """The tune in a MIDI file; with ``empty`` a file without notes is one too.

    Raises:
        BadItem: It is damaged, holds no notes, or claims too many.
    """
    score = _parsed(data)
    count, scale = score.note_num(), QUARTER / score.ticks_per_quarter
    if not count and empty:
        return np.zeros((0, 6), np.int32)
    if not count:
        raise BadItem(say("there are no notes in it"))
    if count > NOTES:
        raise BadItem(say("it has {n} notes, and the limit is {most}", n=count, most=NOTES))
    lasts = int(score.end() * scale / QUARTER)
    if lasts > QUARTERS:
        raise BadItem(say("it lasts for {n} quarter notes, and the limit is {most}", n=lasts, most=QUARTERS))
    rows = _notes(score, scale)
    changes = [(round(c.time * scale), c.numerator, c.denominator) for c in score.time_signatures]
    changes = [c for c in changes if 1 <= c[1] <= 64 and c[2] in (1, 2, 4, 8, 16, 32)]
    tempos = [(round(t.time * scale), int(np.clip(round(t.qpm), *TEMPOS))) for t in score.tempos]
    return joined(barred(sorted(changes), sorted(tempos), int((rows[:, START] + rows[:, LENGTH]).max())), rows)


def _notes(score: Any, scale: float) -> Tune:
    """All notes, tracks without notes passed over. [N, 6]"""
    parts: list[Tune] = []
    for track in score.tracks:
        own = track.notes.numpy()
        n = len(own["time"])
        if not n:
            continue
        rows = np.empty((n, 6), np.int32)
        rows[:, START] = np.rint(own["time"] * scale)
        rows[:, LENGTH] = np.maximum(1, np.rint((own["time"] + own["duration"]) * scale) - rows[:, START])
        rows[:, PITCH], rows[:, VELOCITY] = np.clip(own["pitch"], 0, 127), np.clip(own["velocity"], 1, 127)
        rows[:, VOICE], rows[:, PROGRAM] = len(parts), DRUMS if track.is_drum else track.program
        parts.append(rows)
    return np.concatenate(parts)


def write(tune: Tune, label: str = "") -> bytes:
    """A MIDI file of type 1, a track a voice; with ``label`` in a text event and in every track's name."""
    import symusic

    score: Any = symusic.Score(QUARTER)
    before, tempo = (0, 0), 0
    for row in bars(tune).tolist():
        if (row[NUMERATOR], row[DENOMINATOR]) != before:
            before = row[NUMERATOR], row[DENOMINATOR]
            score.time_signatures.append(symusic.TimeSignature(row[START], *before))
        if row[LENGTH] != min(metre_ticks(*before), LONGEST):
            before = 0, 0  # a bar that is cut short: the next says its metre again
        if row[TEMPO] != tempo:
            tempo = row[TEMPO]
            score.tempos.append(symusic.Tempo(row[START], qpm=tempo))
    played = notes(tune)
    for voice in np.unique(played[:, VOICE]).tolist():
        rows = played[played[:, VOICE] == voice]
        program = int(rows[0, PROGRAM])
        track: Any = symusic.Track(label, 0 if program == DRUMS else program, program == DRUMS)
        columns = (rows[:, START], rows[:, LENGTH], rows[:, PITCH].astype(np.int8), rows[:, VELOCITY].astype(np.int8))
        track.notes = symusic.Note.from_numpy(*(np.ascontiguousarray(c) for c in columns))
        score.tracks.append(track)
    if not len(played):  # a file needs a track
        score.tracks.append(symusic.Track(label))
    if label:
        score.markers.append(symusic.TextMeta(0, label))
    data: bytes = score.dumps_midi()
    return data
