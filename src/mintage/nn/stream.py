"""One token of one stream through a ``transformer.Decoder``, in numpy: what a person waits for when a text is streamed.

At these sizes a step is a hundred tiny operations, and the cost is calling them: numpy calls are several times cheaper
than tensor calls, and the weights are shared, not copied. Keys and values live in the decoder's own cache, which the
tensor code fills for prompts. float32 on the CPU only; results differ from the tensor code by rounding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mintage.core.spec import BOS
from mintage.nn.transformer import GAIN, Block, Cache, Decoder

Array = NDArray[np.float32]
EPSILON = 1e-5  # of layer_norm


def _array(x: Tensor) -> Array:
    found: Array = x.detach().numpy()
    return found


def _norm(x: Array) -> Array:
    """Zero mean and unit variance of a vector [W]."""
    centred: Array = x - np.add.reduce(x) * np.float32(1 / len(x))
    centred *= np.float32(1 / np.sqrt(centred @ centred / len(x) + EPSILON))
    return centred


def _norms(x: Array) -> Array:
    """The same for each row [N, D]."""
    share = np.float32(1 / x.shape[1])
    centred: Array = np.asarray(x - np.add.reduce(x, 1, keepdims=True) * share, np.float32)
    spread = np.add.reduce(centred * centred, 1, keepdims=True) * share
    np.divide(centred, np.sqrt(spread + np.float32(EPSILON)), out=centred)
    return centred


class _Layer:
    """A block's weights as arrays, and its part of the cache."""

    def __init__(self, block: Block, keys: Tensor, values: Tensor, reach: Array) -> None:
        self.own, self.start = (np.float32(v) for v in block.mix.tolist())
        self.qkv, self.out, self.up, self.down = map(_array, (block.qkv, block.out, block.up, block.down))
        self.keys, self.values = _array(keys), _array(values)  # [H, S, D]
        self.reach = reach  # [H, S]: bias by distance, farthest first

    def __call__(self, x: Array, first: Array, extra: Array, at: int) -> Array:
        """The stream [W] after this block; ``extra`` [H, D] joins the value of the token at place ``at``."""
        heads, _, depth = self.keys.shape
        x = x * self.own + first * self.start
        qkv = (self.qkv @ _norm(x)).reshape(3 * heads, depth)
        qk = _norms(qkv[: 2 * heads])
        self.keys[:, at] = qk[heads:]
        self.values[:, at] = qkv[2 * heads :] + extra
        score = np.matmul(self.keys[:, : at + 1], qk[:heads, :, None])[:, :, 0]  # [H, at + 1]
        score *= np.float32(GAIN / depth**0.5)
        score += self.reach[:, self.reach.shape[1] - 1 - at :]
        score -= np.maximum.reduce(score, 1, keepdims=True)
        weight = np.exp(score, out=score)
        weight /= np.add.reduce(weight, 1, keepdims=True)
        x += self.out @ np.matmul(weight[:, None], self.values[:, : at + 1]).reshape(-1)
        hidden = self.up @ _norm(x)
        np.maximum(hidden, 0, out=hidden)
        hidden *= hidden
        x += self.down @ hidden
        return x


class Stream:
    """A decoder and a cache of one row, read one token at a time."""

    def __init__(self, decoder: Decoder, given: Tensor | None, cache: Cache) -> None:
        """``given`` [1, 1, W] is added to every position's embedding."""
        self.cache, self.context = cache, decoder.context
        tables = (decoder.embed, decoder.pair_embed, decoder.place_embed, decoder.value_embed)
        self.embed, self.pairs, self.places, self.value = (_array(table.weight) for table in tables)
        self.given = 0 if given is None else _array(given).reshape(-1)
        self.head = _array(decoder.head)
        reach = _array(decoder.distance_embed)[::-1].T.reshape(decoder.layers, decoder.heads, -1)
        parts = zip(decoder.blocks, cache.keys, cache.values, np.ascontiguousarray(reach), strict=True)
        self.layers = [_Layer(*part) for part in parts]  # type: ignore[arg-type]

    def __call__(self, token: int) -> Array:
        """Read a token; logits of the next one [V]."""
        cache, at = self.cache, self.cache.length
        if not at:
            cache.whole.fill_(token == BOS)
        last, place = int(cache.last), at if bool(cache.whole) else self.context
        x = self.embed[token] + self.pairs[(last * 1_000_003 + token) % len(self.pairs)] + self.places[place]
        first = x = _norm(x + self.given)
        extras = self.value[token].reshape(len(self.layers), -1, self.layers[0].keys.shape[2])
        for layer, extra in zip(self.layers, extras, strict=True):
            x = layer(x, first, extra, at)
        cache.last.fill_(token)
        cache.length = at + 1
        logits: Array = self.head @ _norm(x)
        return logits
