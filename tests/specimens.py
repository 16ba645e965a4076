"""A few small files of every medium, made here: what the contract of a codec is asked about."""

import csv
import math
import struct
import wave

import numpy as np
from PIL import Image

from mintage.modalities.table import Codec
from mintage.nn.tune import barred, joined

N = 16


def image(folder):
    """Blobs in two colours."""
    for k in range(N):
        rough = np.random.default_rng(k).integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(rough).resize((24, 20), Image.Resampling.BICUBIC).save(folder / f"p{k:02d}.png")


def text(folder):
    """Short notes that share words."""
    words = [
        "the",
        "sea",
        "is",
        "calm",
        "and",
        "a",
        "small",
        "boat",
        "goes",
        "home",
        "while",
        "gulls",
        "call",
        "over",
        "grey",
        "water",
    ]
    for k in range(N):
        draw = np.random.default_rng(k)
        (folder / f"t{k:02d}.txt").write_text(" ".join(draw.choice(words, 30)) + ".\n", encoding="utf-8")


def sound(folder):
    """Half a second of two partials, 8 kHz."""
    for k in range(N):
        t = np.arange(4000) / 8000
        tone = np.sin(2 * math.pi * (180 + 23 * k) * t) + 0.4 * np.sin(2 * math.pi * (611 + 31 * k) * t)
        pcm = (9000 * tone * np.hanning(len(t))).astype("<i2")
        with wave.open(str(folder / f"s{k:02d}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(pcm.tobytes())


def music(folder):
    """Scales from different steps, in crotchets: format 0, one track."""
    for k in range(N):
        draw, events = np.random.default_rng(k), b""
        for pitch in (60 + draw.choice([0, 2, 4, 5, 7, 9, 11], 16)).tolist():
            events += bytes((0, 0x90, pitch, 80)) + bytes((0x83, 0x60)) + bytes((0x80, pitch, 0))  # 480 ticks
        events += b"\0\xff\x2f\0"
        head = b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480)
        (folder / f"m{k:02d}.mid").write_bytes(head + b"MTrk" + struct.pack(">I", len(events)) + events)


def video(folder):
    """A bright square that moves, 12 frames."""
    for k in range(N):
        frames = []
        for t in range(12):
            frame = np.full((32, 32), 30, np.uint8)
            y, x = (3 * k) % 24, (2 * t + k) % 24
            frame[y : y + 8, x : x + 8] = 220
            frames.append(Image.fromarray(frame))
        frames[0].save(folder / f"v{k:02d}.gif", save_all=True, append_images=frames[1:], duration=80, loop=0)


def table(folder):
    """Mixed columns with holes, in one file."""
    draw = np.random.default_rng(0)
    with open(folder / "rows.csv", "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["age", "town", "income", "member"])
        for _ in range(20 * N):
            age = int(draw.integers(18, 80))
            out.writerow(
                [
                    age,
                    draw.choice(["Ulm", "Bonn", "Kiel"]),
                    f"{age * 300 + draw.normal(0, 900):.2f}" if draw.random() > 0.1 else "",
                    age > 40,
                ]
            )


def terrain(folder):
    """Hills."""
    down, right = np.mgrid[:16, :16]
    for k in range(N):
        y, x = np.random.default_rng(k).uniform(3, 13, 2)
        rows = 300 + 900 * np.exp(-((down - y) ** 2 + (right - x) ** 2) / 20)
        np.savetxt(
            folder / f"h{k:02d}.asc", rows, "%.1f", header="ncols 16\nnrows 16\nxllcorner 0\nyllcorner 0\ncellsize 1", comments=""
        )


def tune(seed=0, numerator=4, denominator=4, count=6, low=60):
    """A melody of a scale in eighths and quarters over a held chord a bar."""
    rng = np.random.default_rng(seed)
    length = numerator * 96 // denominator
    rows = []
    for bar in range(count):
        at = bar * length
        rows += [(at, length, low - 24 + step, 80, 1, 0) for step in (0, 4, 7)]
        place = 0
        while place < length:
            long = min(int(rng.choice([12, 24])), length - place)
            rows.append((at + place, long, low + int(rng.choice((0, 2, 4, 5, 7, 9, 11, 12))), 90, 0, 0))
            place += long
    return joined(barred([(0, numerator, denominator)], [(0, 100)], count * length), np.array(rows, np.int32))


def read(path, options=None):
    """A table's codec, fitted to it, and its rows."""
    codec = Codec()
    codec.configure(options or {})
    contents = [codec.read(item) for item in codec.items(path)]
    codec.fit(contents)
    return codec, contents


def tone(hertz=440.0, seconds=0.4, rate=8000, level=0.3):
    """A sound with harmonics that swells and dies away."""
    t = np.arange(round(seconds * rate)) / rate
    wave = sum(np.sin(2 * np.pi * hertz * k * t) / k for k in (1, 2, 3) if hertz * k < rate / 2)
    return (level * wave * np.sin(np.pi * t / seconds)).astype(np.float32)
