"""One stream of text through a ``transformer.Decoder``, in numpy: what a person waits for while a text is written.

At these sizes a step is a hundred tiny operations, and the cost is calling them and fetching the weights: numpy calls are
several times cheaper than tensor calls, and a few tokens at once cost hardly more than one. When the context is full,
reading starts again from its newest quarter, so the model never sees a distance that it was not trained on. float32 on
the CPU only; results differ from the tensor code by rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from mintage.core.spec import BOS, PAD
from mintage.nn.transformer import GAIN, Block, Decoder

Array = NDArray[np.float32]
EPSILON = np.float32(1e-5)  # of layer_norm


def _array(x: Tensor) -> Array:
    found: Array = x.detach().cpu().numpy()
    return found


def _norm(x: Array) -> Array:
    """Zero mean and unit variance along the last axis."""
    share = np.float32(1 / x.shape[-1])
    centred: Array = np.subtract(x, np.add.reduce(x, -1, keepdims=True) * share)
    spread: Array = np.vecdot(centred, centred)[..., None]
    centred /= np.sqrt(spread * share + EPSILON)
    return centred


class Window:
    """Which tokens are in sight: a stretch that grows to ``span`` tokens, then starts again from its newest quarter."""

    def __init__(self, decoder: Decoder) -> None:
        self.text: list[int] = []
        self.span = decoder.context - 1  # the place after that was never trained
        self.stride = self.span - self.span // 4

    def begin(self, at: int) -> int:
        """First token in sight of the token at place ``at``."""
        return max(0, (at - self.span // 4) // self.stride) * self.stride

    def room(self, more: int) -> int:
        """How many tokens could follow ``more`` new ones in the same stretch, and be unread."""
        last = len(self.text) + more - 1
        return self.begin(last) + self.span - 1 - last


class _Layer:
    """A block's weights as arrays, and its keys and values."""

    def __init__(self, block: Block, reach: Array, span: int, several: bool) -> None:
        own, start = block.mix.tolist()
        self.own, self.start = np.float32(own), np.float32(start)
        weights = (_array(w).T for w in (block.qkv, block.out, block.up, block.down))  # as they lie: quick for one token
        self.qkv, self.out, self.up, self.down = (np.ascontiguousarray(w) if several else w for w in weights)
        self.heads, self.gain = block.heads, np.float32(GAIN / block.depth**0.5)
        self.keys, self.values = np.empty((2, block.heads, span, block.depth), np.float32)
        self.reach = reach  # [H, S + 1, S]: bias by distance, a row for each place, the last place first

    def __call__(self, x: Array, first: Array, extra: Array, at: int) -> Array:
        """The stream [T, W] after this block; ``extra`` [T, H, D] joins the values of the tokens from place ``at`` on."""
        h, t, n = self.heads, len(x), at + len(x)
        x = x * self.own + first * self.start
        qkv = (_norm(x) @ self.qkv).reshape(t, 3 * h, -1)
        qk = _norm(qkv[:, : 2 * h])
        self.keys[:, at:n] = qk[:, h:].swapaxes(0, 1)
        self.values[:, at:n] = (qkv[:, 2 * h :] + extra).swapaxes(0, 1)
        score = (qk[:, :h] * self.gain).swapaxes(0, 1) @ self.keys[:, :n].mT  # [H, T, n]
        span = self.reach.shape[2]
        score += self.reach[:, span - n : span - at, :n][:, ::-1]
        score -= np.maximum.reduce(score, -1, keepdims=True)
        weight = np.exp(score, out=score)
        seen = weight @ self.values[:, :n]
        seen /= np.add.reduce(weight, -1, keepdims=True)
        x += seen.swapaxes(0, 1).reshape(t, -1) @ self.out
        hidden = _norm(x) @ self.up
        np.maximum(hidden, 0, out=hidden)
        hidden *= hidden
        x += hidden @ self.down
        return x


class Stream:
    """A ``decode.Reader`` over a decoder, with keys and values kept."""

    def __init__(self, decoder: Decoder, given: Tensor | None, several: bool = False) -> None:
        """``given`` [G, W] is added to the embeddings, the last row at all later places; ``several``: tokens come a few at once."""
        self.window, self.length, self.begin = Window(decoder), 0, 0
        self.context, self.spelling, span = decoder.context, decoder.spelling, self.window.span
        tables = (decoder.embed, decoder.pair_embed, decoder.place_embed, decoder.value_embed)
        self.embed, self.pairs, self.places, self.value = (_array(table.weight) for table in tables)
        self.given = np.zeros((1, 1), np.float32) if given is None else _array(given)
        head = _array(decoder.head).T
        self.head = np.ascontiguousarray(head) if several else head
        farthest = _array(decoder.distance_embed)[:span][::-1].T.reshape(decoder.layers, decoder.heads, span)
        future = np.full_like(farthest, -np.inf)
        reach = sliding_window_view(np.concatenate([farthest, future], 2), span, 2)  # [L, H, S + 1, S]
        self.layers = [_Layer(block, own, span, several) for block, own in zip(decoder.blocks, reach, strict=True)]  # type: ignore[arg-type]

    def room(self, more: int) -> int:
        """How many tokens may follow ``more`` new ones and be unread."""
        return self.window.room(more)

    def unread(self, n: int) -> None:
        """Forget the last ``n`` tokens, read after the ``room`` for them was asked."""
        del self.window.text[len(self.window.text) - n :]
        self.length -= n

    def _places(self, seen: Sequence[int]) -> NDArray[np.int64]:
        """Places in the document of the tokens in sight; those that go on spelling a character stand at its own."""
        return np.cumsum([token not in self.spelling for token in seen]) - 1

    def read(self, ids: Sequence[int], last: int = 1) -> Array:
        """Read tokens; logits of what follows each of the ``last`` ones. [last, V]"""
        text = self.window.text
        text += ids
        begin = self.window.begin(len(text) - 1)
        if begin != self.begin:
            self.begin, self.length = begin, 0
        at = self.length
        new = np.array(text[begin + at :])
        before = np.array([text[begin + at - 1] if at else PAD, *text[begin + at : -1]])
        self.length = at + len(new)
        whole = text[begin] == BOS
        place = self._places(text[begin:])[at:] if whole else slice(self.context, self.context + 1)
        x = self.embed[new] + self.pairs[(before * 1_000_003 + new) % len(self.pairs)] + self.places[place]
        first = x = _norm(x + self.given[np.minimum(np.arange(at, self.length), len(self.given) - 1)])
        extras = self.value[new].reshape(len(new), len(self.layers), self.layers[0].heads, -1)
        for i, layer in enumerate(self.layers):
            x = layer(x, first, extras[:, i], at)
        logits: Array = _norm(x[-last:]) @ self.head
        return logits


class Recomputed:
    """A ``decode.Reader`` that reads its whole stretch again at every token: slow, for comparison."""

    def __init__(self, decoder: Decoder, given: Tensor | None) -> None:
        """``given`` [G, W] is added to the embeddings, a row a place, the last for all later ones."""
        self.decoder, self.given, self.window = decoder, given, Window(decoder)

    def read(self, ids: Sequence[int], last: int = 1) -> Array:
        """Read tokens; logits of what follows each of the ``last`` ones. [last, V]"""
        text = self.window.text
        text += ids
        seen = text[self.window.begin(len(text) - 1) :]
        given = None if self.given is None else self.given[None]
        with torch.inference_mode():
            return _array(self.decoder(torch.tensor([seen], device=self.decoder.head.device), given)[0, -last:])
