"""One stream of text through a ``recurrent.Recurrent``, in numpy: the cost of a token is the same however long the text.

The cost of a step is calling its operations and fetching the weights, so there are few of the one and no more than once of the
other. Weights are copied: what is added to the stream is made to have zero mean, so that a layer norm is one scalar, and gates
are halved, so that a sigmoid is a tanh. float32 on the CPU only; results differ from the tensor code by rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mintage.core.spec import BOS, PAD
from mintage.nn.recurrent import Block, Recurrent
from mintage.nn.stream import EPSILON, Array, _array

HALF = np.float32(0.5)


def _unit(x: Array) -> np.float32:
    """What scales a vector [W] of zero mean to unit variance."""
    return np.float32(1 / math.sqrt(x.dot(x) / len(x) + EPSILON))


def _centred(matrix: Array) -> Array:
    """A product [W, N] whose results have zero mean."""
    found: Array = matrix - matrix.mean(0, keepdims=True)
    return found


class _Layer:
    """A block's weights as arrays, and its state."""

    def __init__(self, block: Block, cell: str) -> None:
        own, start = block.mix.tolist()
        self.own, self.start = np.float32(own), np.float32(start)
        self.out, self.up, self.down = _centred(_array(block.out)), _array(block.up), _centred(_array(block.down))
        self.width = block.width
        self.enter, self.bias = _array(block.cell.enter).copy(), _array(block.cell.bias).copy()
        self.back = None if block.cell.back is None else _array(block.cell.back).copy()
        rest = len(self.bias) - self.width  # the gates; what may be written comes last
        for part in (self.enter, self.bias, *([] if self.back is None else [self.back])):
            part[:rest] *= HALF
        self.h, self.c = np.zeros((2, self.width), np.float32)
        self.step = {"mingru": self.mingru, "gru": self.gru, "lstm": self.lstm}[cell]

    def mingru(self, pre: Array) -> Array:
        """The output [W] for what the input gives [G W]; the state is brought up to date."""
        h, width = self.h, self.width
        gate = np.tanh(pre[: 2 * width])
        gate += 1  # twice the sigmoid
        new = pre[2 * width :]
        new -= h
        new *= gate[:width]
        new *= HALF
        h += new
        out: Array = pre[width : 2 * width]  # half of what is gated
        out *= gate[width:]
        out *= h
        return out

    def gru(self, pre: Array) -> Array:
        """The same."""
        h, width = self.h, self.width
        back = self.back @ h  # type: ignore[operator]
        pre[: 2 * width] += back[: 2 * width]
        gate = np.tanh(pre[: 2 * width])
        gate += 1
        gate *= HALF
        new = np.tanh(pre[2 * width :] + gate[:width] * back[2 * width :])
        h -= new
        h *= gate[width:]
        h += new
        return h

    def lstm(self, pre: Array) -> Array:
        """The same."""
        h, c, width = self.h, self.c, self.width
        pre += self.back @ h  # type: ignore[operator]
        gate = np.tanh(pre[: 3 * width])
        gate += 1
        gate *= HALF
        c *= gate[width : 2 * width]
        c += gate[:width] * np.tanh(pre[3 * width :])
        np.tanh(c, out=h)
        h *= gate[2 * width :]
        return h

    def __call__(self, x: Array, first: Array, extra: Array) -> Array:
        """The stream [W] after this block; ``extra`` [W] joins what may be written."""
        x = x * self.own + first * self.start
        pre = self.enter @ (x * _unit(x))
        pre += self.bias
        pre[-self.width :] += extra
        x += self.out @ self.step(pre)
        hidden = self.up @ (x * _unit(x))
        np.maximum(hidden, 0, out=hidden)
        hidden *= hidden
        x += self.down @ hidden
        return x


class Recall:
    """A ``decode.Reader`` that remembers a state of constant size."""

    def __init__(self, net: Recurrent, given: Tensor | None) -> None:
        """``given`` [1, W] is added to every position's embedding."""
        tables = (net.embed, net.pair_embed, net.place_embed, net.value_embed)
        self.embed, self.pairs, self.places, self.value = (_array(table.weight) for table in tables)
        self.given = np.float32(0) if given is None else _array(given).reshape(-1)
        self.head, self.context, self.width = _array(net.head), net.context, net.width
        self.layers = [_Layer(block, net.cell) for block in net.blocks]  # type: ignore[arg-type]
        self.last, self.whole, self.length = PAD, False, 0

    def read(self, ids: Sequence[int], last: int = 1) -> Array:
        """Read tokens; logits of what follows each of the ``last`` ones. [last, V]"""
        found = [self._read(token) for token in ids][-last:]
        logits: Array = np.stack([self.head @ (x * _unit(x)) for x in found])
        return logits

    def _read(self, token: int) -> Array:
        """The stream [W] that the head reads."""
        if not self.length:
            self.whole = token == BOS
        place = self.length if self.whole and self.length < self.context else self.context
        x = self.embed[token] + self.pairs[(self.last * 1_000_003 + token) % len(self.pairs)]
        x += self.places[place]
        x += self.given
        x -= x.mean()
        first: Array = x * _unit(x)
        x = first
        for extra, layer in zip(self.value[token].reshape(-1, self.width), self.layers, strict=True):
            x = layer(x, first, extra)
        self.last, self.length = token, self.length + 1
        return x


class Reread:
    """A ``decode.Reader`` that reads everything again at every token: slow, for comparison."""

    def __init__(self, net: Recurrent, given: Tensor | None) -> None:
        """``given`` [1, W] is added to every position's embedding."""
        self.net, self.given, self.text = net, None if given is None else given[None], list[int]()

    def read(self, ids: Sequence[int], last: int = 1) -> Array:
        """Read tokens; logits of what follows each of the ``last`` ones. [last, V]"""
        self.text += ids
        with torch.inference_mode():
            return _array(self.net(torch.tensor([self.text], device=self.net.head.device), self.given)[0, -last:])
