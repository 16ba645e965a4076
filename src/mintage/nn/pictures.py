"""Numerics of pictures as uint8 arrays: area reduction, resizing, perceptual hashes, thumbnails, pages of many.

The hash is pHash (Zauner 2010): the signs of the 8 × 8 lowest cosine coefficients of a 32 × 32 picture against their
median, 64 bits. Reduction and cosine transform are one matrix product from each side, so 60,000 small pictures take a
fraction of a second. It does not know files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

Floats = NDArray[np.float32]
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
CHUNK = 2048
SEEN = 56  # pixels that a picture has at least on a page of many


@lru_cache(maxsize=512)
def area(n: int, m: int) -> Floats:
    """Weights that average n pixels into m by overlap; rows sum to 1. [m, n]"""
    edges, cells = np.arange(m)[:, None] * n / m, np.arange(n)[None]
    overlap = np.minimum(edges + n / m, cells + 1) - np.maximum(edges, cells)
    weights: Floats = (np.clip(overlap, 0, None) * m / n).astype(np.float32)
    return weights


@lru_cache(maxsize=512)
def _cosines(n: int) -> Floats:
    """Reduction to 32 pixels followed by the 8 lowest cosines. [8, n]"""
    waves = np.cos(np.pi * np.arange(8)[:, None] * (2 * np.arange(32) + 1) / 64).astype(np.float32)
    reduced: Floats = waves @ area(n, 32)
    return reduced


def runs(contents: Sequence[np.ndarray]) -> Iterator[tuple[slice, np.ndarray]]:
    """Consecutive pictures of equal shape, stacked. → slice, [n, H, W] or [n, H, W, 3]"""
    for base in range(0, len(contents), CHUNK):
        some = [contents[i] for i in range(base, min(base + CHUNK, len(contents)))]
        edges = [i for i in range(1, len(some)) if some[i].shape != some[i - 1].shape]
        for start, stop in zip([0, *edges], [*edges, len(some)], strict=True):
            yield slice(base + start, base + stop), np.stack(some[start:stop])


def luma(pictures: np.ndarray) -> np.ndarray:
    """Brightness as float32. [n, H, W]"""
    return pictures.astype(np.float32) if pictures.ndim == 3 else pictures.astype(np.float32) @ LUMA


def perceptual_hash(contents: Sequence[np.ndarray]) -> np.ndarray:
    """64 bits a picture. [N, 8] uint8"""
    found = np.zeros((len(contents), 8), np.uint8)
    for where, pictures in runs(contents):
        grey = luma(pictures)
        low = _cosines(grey.shape[1]) @ grey @ _cosines(grey.shape[2]).T  # [n, 8, 8]
        low = low.reshape(len(low), 64)
        bits = low > np.median(low[:, 1:], axis=1, keepdims=True)
        bits[:, 0] = False  # the mean says how bright, not what
        found[where] = np.packbits(bits, axis=1)
    return found


def thumbnails(contents: Sequence[np.ndarray], side: int) -> np.ndarray:
    """Pictures averaged to side × side, in three colours if any has colour. [N, side·side] or [N, 3·side·side] float32"""
    planes = 3 if any(content.ndim == 3 for content in contents) else 1
    found = np.zeros((len(contents), planes, side, side), np.float32)
    for where, pictures in runs(contents):
        colour = pictures[:, None] if pictures.ndim == 3 else pictures.transpose(0, 3, 1, 2)  # [n, C, H, W]
        found[where] = area(colour.shape[2], side) @ colour.astype(np.float32) @ area(colour.shape[3], side).T
    return found.reshape(len(found), -1)


def contrasts(contents: Sequence[np.ndarray]) -> np.ndarray:
    """Standard deviation of each picture over its pixels and colours. [N] float32"""
    found = np.zeros(len(contents), np.float32)
    for where, pictures in runs(contents):
        found[where] = pictures.reshape(len(pictures), -1).astype(np.float32).std(1)
    return found


def centre_crop(height: int, width: int, to_height: int, to_width: int) -> tuple[int, int, int, int]:
    """The largest central rectangle with the target's aspect: top, left, height, width."""
    high, wide = height, round(height * to_width / to_height)
    if wide > width:
        high, wide = max(1, round(width * to_height / to_width)), width
    return (height - high) // 2, (width - wide) // 2, high, wide


def fit(pictures: np.ndarray, channels: int, height: int, width: int) -> torch.Tensor:
    """Centre-crop and resize with an antialiased cubic; grey ↔ colour. → [n, C, H, W] uint8"""
    if pictures.ndim == 4 and channels == 1:
        pictures = np.rint(luma(pictures)).astype(np.uint8)
    x = torch.from_numpy(np.ascontiguousarray(pictures))
    x = x[:, None] if x.ndim == 3 else x.movedim(3, 1)  # [n, C, H, W]
    top, left, high, wide = centre_crop(x.shape[2], x.shape[3], height, width)
    x = x[:, :, top : top + high, left : left + wide]
    if (high, wide) != (height, width):
        x = F.interpolate(x.float(), (height, width), mode="bicubic", antialias=True).round_().clamp_(0, 255).byte()
    return x.expand(-1, channels, -1, -1) if x.shape[1] == 1 else x


def rectangle(what: str, height: int, width: int) -> torch.Tensor | None:
    """``left,top,right,bottom`` in pixels → True inside; None where that is no part of it. [H, W] bool"""
    try:
        left, top, right, bottom = (int(part) for part in what.split(","))
    except ValueError:
        return None
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        return None
    mask = torch.zeros((height, width), dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


def contact_sheet(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Up to 400 pictures in a near-square on white, small ones enlarged by a whole factor. [H, W] or [H, W, 3] uint8"""
    factor = max(1, math.ceil(SEEN / max(max(p.shape[:2]) for p in pictures)))
    pictures, gap = [p.repeat(factor, 0).repeat(factor, 1) for p in pictures[:400]], max(2, 2 * (factor // 2))
    colour = any(p.ndim == 3 for p in pictures)
    high, wide = (max(p.shape[i] for p in pictures) + gap for i in (0, 1))
    columns = math.ceil(math.sqrt(len(pictures) * high / wide))
    lines = math.ceil(len(pictures) / columns)
    sheet = np.full((lines * high + gap, columns * wide + gap, 3), 255, np.uint8)
    for k, p in enumerate(pictures):
        top, left = k // columns * high + gap, k % columns * wide + gap
        sheet[top : top + p.shape[0], left : left + p.shape[1]] = p if p.ndim == 3 else p[..., None]
    return sheet if colour else sheet[..., 0]
