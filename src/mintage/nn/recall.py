"""One stream of text through a ``recurrent.Recurrent``, in numpy: the cost of a token is the same however long the text.

As in ``nn.stream``, the cost of a step is calling its operations, so they run in numpy; weights are shared, not copied, and
results differ from the tensor code by rounding. float32 on the CPU only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mintage.core.spec import BOS, PAD
from mintage.nn.recurrent import Block, Recurrent
from mintage.nn.stream import Array, _array, _norm

HALF = np.float32(0.5)


def _sigmoid(x: Array) -> Array:
    """In place, without overflow."""
    x *= HALF
    np.tanh(x, out=x)
    x += 1
    x *= HALF
    return x


class _Layer:
    """A block's weights as arrays, and its state."""

    def __init__(self, block: Block, cell: str) -> None:
        own, start = block.mix.tolist()
        self.own, self.start = np.float32(own), np.float32(start)
        weights = (block.cell.enter, block.out, block.up, block.down)
        self.enter, self.out, self.up, self.down = (_array(w).T for w in weights)
        self.bias = _array(block.cell.bias)
        self.back = None if block.cell.back is None else _array(block.cell.back)
        self.h, self.c = np.zeros((2, block.width), np.float32)
        self.step = {"mingru": self.mingru, "gru": self.gru, "lstm": self.lstm}[cell]

    def mingru(self, pre: Array) -> Array:
        """Outputs [T, W] for what the input gives [T, G W]; the state is brought up to date."""
        h, width = self.h, len(self.h)
        out = pre[:, width : 2 * width].copy()
        gate, new = _sigmoid(pre[:, : 2 * width]), pre[:, 2 * width :]
        out *= gate[:, width:]
        for now, share, y in zip(new, gate[:, :width], out, strict=True):
            now -= h
            now *= share
            h += now
            y *= h
        return out

    def gru(self, pre: Array) -> Array:
        """The same."""
        h, width = self.h, len(self.h)
        out: Array = np.empty((len(pre), width), np.float32)
        for now, y in zip(pre, out, strict=True):
            back = self.back @ h  # type: ignore[operator]
            now[: 2 * width] += back[: 2 * width]
            gate = _sigmoid(now[: 2 * width])
            new = np.tanh(now[2 * width :] + gate[:width] * back[2 * width :])
            h -= new
            h *= gate[width:]
            h += new
            y[:] = h
        return out

    def lstm(self, pre: Array) -> Array:
        """The same."""
        h, c, width = self.h, self.c, len(self.h)
        out: Array = np.empty((len(pre), width), np.float32)
        for now, y in zip(pre, out, strict=True):
            now += self.back @ h  # type: ignore[operator]
            gate, new = _sigmoid(now[: 3 * width]), np.tanh(now[3 * width :])
            c *= gate[width : 2 * width]
            c += gate[:width] * new
            np.tanh(c, out=h)
            h *= gate[2 * width :]
            y[:] = h
        return out

    def __call__(self, x: Array, first: Array, extra: Array) -> Array:
        """The stream [T, W] after this block; ``extra`` [T, W] joins what may be written."""
        x = x * self.own + first * self.start
        pre = _norm(x) @ self.enter
        pre += self.bias
        pre[:, -x.shape[1] :] += extra
        x += self.step(pre) @ self.out
        hidden = _norm(x) @ self.up
        np.maximum(hidden, 0, out=hidden)
        hidden *= hidden
        x += hidden @ self.down
        return x


class Recall:
    """A ``decode.Reader`` that remembers a state of constant size."""

    def __init__(self, net: Recurrent, given: Tensor | None) -> None:
        """``given`` [1, W] is added to every position's embedding."""
        tables = (net.embed, net.pair_embed, net.place_embed, net.value_embed)
        self.embed, self.pairs, self.places, self.value = (_array(table.weight) for table in tables)
        self.given = np.float32(0) if given is None else _array(given).reshape(-1)
        self.head, self.context = _array(net.head).T, net.context
        self.layers = [_Layer(block, net.cell) for block in net.blocks]  # type: ignore[arg-type]
        self.last, self.whole, self.length = PAD, False, 0

    def read(self, ids: Sequence[int], last: int = 1) -> Array:
        """Read tokens; logits of what follows each of the ``last`` ones. [last, V]"""
        if not self.length:
            self.whole = ids[0] == BOS
        end, inside = self.length + len(ids), self.context
        place = [t if t < inside else inside for t in range(self.length, end)] if self.whole else inside
        before = [self.last, *ids[:-1]]
        hashed = [(a * 1_000_003 + b) % len(self.pairs) for a, b in zip(before, ids, strict=True)]
        first = x = _norm(self.embed[ids] + self.pairs[hashed] + self.places[place] + self.given)
        extras = self.value[ids].reshape(len(ids), len(self.layers), -1)
        for i, layer in enumerate(self.layers):
            x = layer(x, first, extras[:, i])
        self.last, self.length = ids[-1], end
        logits: Array = _norm(x[-last:]) @ self.head
        return logits


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
