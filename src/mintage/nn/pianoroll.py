"""How a tune looks: time to the right, pitch upwards, a colour a voice, thin lines where bars begin and at every C."""

from __future__ import annotations

import numpy as np

from mintage.nn.tune import DRUMS, LENGTH, PITCH, PROGRAM, QUARTER, START, VOICE, Tune, bars, notes

HIGH = 4  # pixels of a semitone
WIDE = 900  # pixels of a picture at most
ROWS = 4  # systems under each other at most
COLOURS = np.array(
    [[38, 70, 110], [184, 92, 56], [74, 124, 89], [142, 90, 140], [196, 156, 60], [90, 140, 160], [160, 70, 80], [100, 100, 100]],
    np.uint8,
)


def picture(tune: Tune) -> np.ndarray:
    """A piano roll; long tunes go on in the next row. [H, W, 3] uint8"""
    own, frame = notes(tune), bars(tune)
    if not len(own):
        return np.full((60, 160, 3), 255, np.uint8)
    end = int(frame[-1, START] + frame[-1, LENGTH])
    low, high = int(own[:, PITCH].min()) - 2, int(own[:, PITCH].max()) + 3
    ticks = 3 if end <= 3 * WIDE * ROWS else -(-end // (WIDE * ROWS))  # of a pixel
    span = WIDE * ticks
    tall = (high - low) * HIGH
    rows = min(ROWS, -(-end // span))
    wide = min(WIDE, -(-end // ticks)) + 1
    page = np.full((rows * (tall + 8) - 8, wide, 3), 255, np.uint8)
    for row in range(rows):
        part = page[row * (tall + 8) : row * (tall + 8) + tall]
        begin = row * span
        part[:] = 250
        for pitch in range(low + (-low) % 12, high, 12):
            part[(high - pitch) * HIGH - 1] = 225
        for at in frame[(frame[:, START] >= begin) & (frame[:, START] < begin + span), START].tolist():
            part[:, (at - begin) // ticks] = 225
        _notes(part, own[(own[:, START] < begin + span) & (own[:, START] + own[:, LENGTH] > begin)], begin, ticks, high)
    return page


def _notes(part: np.ndarray, own: Tune, begin: int, ticks: int, high: int) -> None:
    """Draw notes into one row of the picture."""
    for note in own[::-1].tolist():  # the first voice on top
        length = min(note[LENGTH], QUARTER // 2) if note[PROGRAM] == DRUMS else note[LENGTH]
        left = max(0, (note[START] - begin) // ticks)
        right = max(left + 1, (note[START] + length - begin) // ticks - 1)
        top = (high - 1 - note[PITCH]) * HIGH
        part[top : top + HIGH - 1, left:right] = COLOURS[note[VOICE] % len(COLOURS)]
