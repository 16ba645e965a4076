"""Numerics of clips as uint8 arrays [T, H, W, 3]: lengths, strips of frames, and what makes two clips the same.

The fingerprint is two perceptual hashes: of the mean frame, and of the motion, drawn as a picture of time against each
side. Two clips are suspected when their motions' hashes agree, and the same when both the mean frame and what moves in
front of it differ by less than a third of their own contrast, on 8 frames of 16 × 16. So two moments of one action are
two clips, and a frozen one is found again. It does not see a clip that was cut, slowed or mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mintage.nn.pictures import area, luma, perceptual_hash

WIDTH = 16  # bytes of a fingerprint
MOMENTS, SIDE = 8, 32
LOOSE, LEVELS = 0.35, 1.5  # of the contrast; grey levels below which a difference is none
SHOWN = 8  # frames in a strip
LOOPS = ("turn", "fade")


def lasting(clip: np.ndarray, length: int) -> np.ndarray:
    """The clip's first ``length`` frames; a shorter one runs back and forth. [length, ...]"""
    span = max(1, 2 * len(clip) - 2)
    at = np.arange(length) % span
    return clip[np.minimum(at, span - at) if len(clip) > 1 else at * 0]


def looped(clip: np.ndarray, how: str) -> np.ndarray:
    """A clip [T, ...] whose last frame runs into its first; any other word leaves it as it is.

    ``turn`` plays it forth and back, ``fade`` melts its end into its beginning, which costs a quarter of the frames.
    """
    if how == "turn":
        return np.concatenate([clip, clip[-2:0:-1]])
    if how != "fade" or len(clip) < 4:
        return clip
    over = len(clip) // 4
    weight = ((np.arange(over) + 1) / (over + 1)).reshape(-1, *[1] * (clip.ndim - 1))  # of the beginning
    melted = weight * clip[:over] + (1 - weight) * clip[len(clip) - over :]
    return np.concatenate([melted.round().astype(clip.dtype), clip[over : len(clip) - over]])


def filmstrip(clip: np.ndarray, most: int = SHOWN, gap: int = 1) -> np.ndarray:
    """Evenly spaced frames side by side on white. [H, W] or [H, W, 3] uint8"""
    at = np.linspace(0, len(clip) - 1, min(most, len(clip))).round().astype(int)
    frames = np.pad(clip[at], ((0, 0), (0, 0), (0, gap), (0, 0)), constant_values=255)  # [n, H, W + gap, C]
    strip = np.concatenate(list(frames), 1)[:, : -gap or None]
    return strip[..., 0] if strip.shape[2] == 1 else strip


def moments(clip: np.ndarray, side: int) -> np.ndarray:
    """Brightness of evenly spaced frames, averaged to side × side. [MOMENTS, side, side] float32"""
    at = np.linspace(0, len(clip) - 1, MOMENTS).round().astype(int)
    grey = luma(clip[at])
    found: np.ndarray = area(grey.shape[1], side) @ grey @ area(grey.shape[2], side).T
    return found


def fingerprint(clips: Sequence[np.ndarray]) -> np.ndarray:
    """Hash of the mean frame and hash of the motion. [N, 16] uint8"""
    if not len(clips):
        return np.zeros((0, WIDTH), np.uint8)
    still, motion = [], []
    for clip in clips:
        cube = moments(clip, SIDE)
        mean = cube.mean(0)
        moving = cube - mean
        drawn = np.concatenate([moving.mean(1), moving.mean(2)])  # [2 · MOMENTS, SIDE]
        still.append(mean.round().astype(np.uint8))
        most = float(np.abs(drawn).max())
        motion.append((128 + (120 * drawn / most if most > LEVELS else 0 * drawn)).astype(np.uint8))
    return np.concatenate([perceptual_hash(still), perceptual_hash(motion)], 1)


def alike(pairs: np.ndarray, clips: Sequence[np.ndarray]) -> np.ndarray:
    """The suspects [P, 2] that are the same clip by their pixels."""
    used, places = np.unique(pairs, return_inverse=True)
    cubes = [moments(clips[i], SIDE // 2) for i in used.tolist()]
    if not cubes:
        return pairs
    still = np.stack([cube.mean(0) for cube in cubes]).reshape(len(cubes), -1)
    moving = np.stack([cube - cube.mean(0) for cube in cubes]).reshape(len(cubes), -1)
    a, b = places.reshape(-1, 2).T
    same = np.ones(len(pairs), bool)
    for part in (still - still.mean(1, keepdims=True), moving):
        apart, own = np.sqrt(np.square(part[a] - part[b]).mean(1)), np.sqrt(np.square(part).mean(1))
        same &= apart <= np.maximum(LOOSE * np.maximum(own[a], own[b]), LEVELS)
    kept: np.ndarray = pairs[same]
    return kept
