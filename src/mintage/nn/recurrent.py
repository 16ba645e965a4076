"""A recurrent network for token streams: LSTM, GRU or minGRU cells in residual blocks, with a state of constant size.

LSTM (Hochreiter & Schmidhuber 1997, with the forget gate of Gers 2000), GRU (Cho et al. 2014, the variant that gates after the
product) and minGRU (Feng et al., 2410.01201), whose gates see the input alone. What can be computed for all tokens at once is one
product; the recurrence is a loop over time that stays in the cache, with a backward written by hand. On a CPU that loop is eight
times as fast as the parallel scan that minGRU was made for. States are float32. One mask a text silences channels of the
recurrent state and of what the cells and feed-forward parts add (Gal & Ghahramani, 1512.05287). It does not know losses,
sampling or what the tokens mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mintage.nn.layers import Entry, feed_forward, uniform, working_dtype
from mintage.nn.optim import mark

EXPAND = 2  # hidden numbers of a feed-forward part, as a multiple of the width


def _before(h: Tensor) -> Tensor:
    """The state before each step; the first starts from nothing. [T, B, W]"""
    return torch.cat([torch.zeros_like(h[:1]), h[:-1]])


class _MinGru(torch.autograd.Function):
    """h_t = (1 - z_t) h_{t-1} + z_t c_t with z = sigmoid(gate)."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, cand: Tensor) -> Tensor:
        keep, cand = torch.sigmoid(-gate.float()), cand.float()
        h = cand - keep * cand
        states, shares = h.unbind(), keep.unbind()
        for t in range(1, len(states)):
            states[t].addcmul_(shares[t], states[t - 1])
        ctx.save_for_backward(keep, cand, h)
        ctx.kind = gate.dtype
        return h

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        keep, cand, h = ctx.saved_tensors
        total = grad.float().clone()
        steps, shares = total.unbind(), keep.unbind()
        for t in range(len(steps) - 2, -1, -1):
            steps[t].addcmul_(shares[t + 1], steps[t + 1])
        written = total * (1 - keep)
        gate = (cand - _before(h)).mul_(written).mul_(keep)
        return gate.to(ctx.kind), written.to(ctx.kind)


class _Gru(torch.autograd.Function):
    """r, u = sigmoid; n = tanh(pre_n + r (R h)_n); h = u h + (1 - u) n."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, rec: Tensor, mask: Tensor | None) -> Tensor:
        width, kind, turned = rec.shape[1], pre.dtype, rec.t().contiguous()
        gates, inner, states = [], [], []
        h = rec.new_zeros(pre.shape[1], width, dtype=torch.float32)
        for now in pre.unbind():
            back = ((h if mask is None else h * mask).to(kind) @ turned).float()
            gate = torch.sigmoid(now[:, : 2 * width] + back[:, : 2 * width])
            new = torch.tanh(torch.addcmul(now[:, 2 * width :].float(), gate[:, :width], back[:, 2 * width :]))
            h = torch.lerp(new, h, gate[:, width:])
            gates.append(torch.cat([gate, new], 1))
            inner.append(back[:, 2 * width :])
            states.append(h)
        out = torch.stack(states)
        ctx.save_for_backward(torch.stack(gates), torch.stack(inner), out, rec, mask)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        gates, inner, out, rec, mask = ctx.saved_tensors
        before = _before(out)
        r, u, n = gates.chunk(3, 2)
        new = (1 - u) * (1 - n * n)
        share = torch.stack([new * inner * r * (1 - r), (before - n) * u * (1 - u), new * r], 2)  # [T, B, 3, W]
        moved, states = torch.empty_like(share), []
        back = torch.zeros_like(out[0])
        for t in range(len(out) - 1, -1, -1):
            dh = grad[t] + back
            states.append(dh)
            torch.mul(share[t], dh[:, None], out=moved[t])
            back = (moved[t].flatten(1).to(rec.dtype) @ rec).float()
            back = torch.addcmul(back if mask is None else back * mask, u[t], dh)
        flat = moved.flatten(2).to(rec.dtype)  # [T, B, 3 W]
        seen = (before if mask is None else before * mask).to(rec.dtype)
        d_rec = flat.flatten(0, 1).t() @ seen.flatten(0, 1)
        d_pre = torch.cat([flat[..., : 2 * u.shape[2]], (new * torch.stack(states[::-1])).to(rec.dtype)], 2)
        return d_pre, d_rec, None


class _Lstm(torch.autograd.Function):
    """i, f, o = sigmoid; n = tanh; c = f c + i n; h = o tanh(c)."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, rec: Tensor, mask: Tensor | None) -> Tensor:
        width, kind, turned = rec.shape[1], pre.dtype, rec.t().contiguous()
        gates, cells, states = [], [], []
        h = c = rec.new_zeros(pre.shape[1], width, dtype=torch.float32)
        for now in pre.unbind():
            raw = torch.addmm(now, (h if mask is None else h * mask).to(kind), turned).float()
            gate, new = torch.sigmoid(raw[:, : 3 * width]), torch.tanh(raw[:, 3 * width :])
            c = torch.addcmul(gate[:, :width] * new, gate[:, width : 2 * width], c)
            h = gate[:, 2 * width :] * torch.tanh(c)
            gates.append(torch.cat([gate, new], 1))
            cells.append(c)
            states.append(h)
        out, kept = torch.stack(states), torch.stack(cells)
        ctx.save_for_backward(torch.stack(gates), kept, out, rec, mask)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        gates, kept, out, rec, mask = ctx.saved_tensors
        i, f, o, n = gates.chunk(4, 2)
        end = torch.tanh(kept)
        share = torch.stack([n * i * (1 - i), _before(kept) * f * (1 - f), end * o * (1 - o), i * (1 - n * n)], 2)
        through = o * (1 - end * end)
        moved = torch.empty_like(share)
        back = carry = torch.zeros_like(out[0])
        for t in range(len(out) - 1, -1, -1):
            dh = grad[t] + back
            carry = torch.addcmul(carry, dh, through[t])
            torch.mul(share[t], carry[:, None], out=moved[t])
            torch.mul(share[t, :, 2], dh, out=moved[t, :, 2])
            carry = carry * f[t]
            back = (moved[t].flatten(1).to(rec.dtype) @ rec).float()
            back = back if mask is None else back * mask
        flat = moved.flatten(2).to(rec.dtype)
        before = _before(out)
        seen = (before if mask is None else before * mask).to(rec.dtype)
        return flat, flat.flatten(0, 1).t() @ seen.flatten(0, 1), None


class Cell(nn.Module):
    """What all cells have: a product over the input, and a state."""

    signs: tuple[int, ...]  # of what each gate's bias does to the memory: 1 forgets or writes, -1 keeps, 0 neither
    recurrent = True  # does the state pass through a matrix of its own?

    def __init__(self, width: int) -> None:
        """The biases start as memories of many lengths, the recurrent matrix small."""
        super().__init__()
        self.width = width
        self.enter = uniform(len(self.signs) * width, width, 0.6)
        self.back = uniform(len(self.signs) * width, width, 0.3) if self.recurrent else None
        reach = torch.logspace(0.2, 1.8, width)  # tokens until 1 / e is left
        fading = torch.log(torch.expm1(1 / reach))  # the sigmoid of it is what a step forgets
        self.bias = nn.Parameter(torch.cat([sign * fading for sign in self.signs]))

    def pre(self, x: Tensor, extra: Tensor) -> Tensor:
        """What the input gives to the gates; `extra` joins the last, which may be written. [T, B, G W]"""
        found = F.linear(x, self.enter.to(x.dtype), self.bias.to(x.dtype))
        rest = found.shape[2] - self.width
        return torch.cat([found[..., :rest], found[..., rest:] + extra], 2)

    def forward(self, x: Tensor, extra: Tensor, mask: Tensor | None) -> Tensor:
        """`x`, `extra` and the outputs [T, B, W]; `mask` [B, W] silences what flows back."""
        raise NotImplementedError


class MinGru(Cell):
    """Gates that see the input alone, so nothing flows back; the output is gated too."""

    signs, recurrent = (1, 0, 0), False

    def forward(self, x: Tensor, extra: Tensor, mask: Tensor | None) -> Tensor:
        """See `Cell`."""
        found = F.linear(x, self.enter.to(x.dtype), self.bias.to(x.dtype))
        gate, out, cand = torch.split(found, self.width, 2)
        h: Tensor = _MinGru.apply(gate, cand + extra)  # type: ignore[no-untyped-call]
        return h.to(x.dtype) * F.silu(out)


class Gru(Cell):
    """Reset and update gates."""

    signs = (0, -1, 0)

    def forward(self, x: Tensor, extra: Tensor, mask: Tensor | None) -> Tensor:
        """See `Cell`."""
        assert self.back is not None
        h: Tensor = _Gru.apply(self.pre(x, extra), self.back.to(x.dtype), mask)  # type: ignore[no-untyped-call]
        return h.to(x.dtype)


class Lstm(Cell):
    """Input, forget and output gates, and a cell beside the state."""

    signs = (1, -1, 0, 0)

    def forward(self, x: Tensor, extra: Tensor, mask: Tensor | None) -> Tensor:
        """See `Cell`."""
        assert self.back is not None
        h: Tensor = _Lstm.apply(self.pre(x, extra), self.back.to(x.dtype), mask)  # type: ignore[no-untyped-call]
        return h.to(x.dtype)


CELLS: dict[str, type[Cell]] = {"mingru": MinGru, "gru": Gru, "lstm": Lstm}


class Block(nn.Module):
    """A cell and a feed-forward part, each added to the stream."""

    def __init__(self, width: int, cell: str) -> None:
        """Both output projections start at zero, so that the block starts as the identity."""
        super().__init__()
        self.width = width
        self.cell = CELLS[cell](width)
        self.out = nn.Parameter(torch.zeros(width, width))
        self.up = uniform(EXPAND * width, width, 0.5)
        self.down = nn.Parameter(torch.zeros(width, EXPAND * width))
        self.mix = nn.Parameter(torch.tensor([1.0, 0.1]))  # shares of the stream and of the network's input

    def forward(self, x: Tensor, first: Tensor, extra: Tensor, drop: Sequence[Tensor]) -> Tensor:
        """All [T, B, W], time first; `drop` three masks [B, W] or ()."""
        kind = x.dtype
        own, start = self.mix.to(kind).unbind()
        x = x * own + first * start
        y = self.cell(F.layer_norm(x, (self.width,)), extra, drop[2].float() if drop else None)
        y = F.linear(y, self.out.to(kind))
        x = x + (y * drop[0] if drop else y)
        y = feed_forward(x, self.up, self.down)
        return x + (y * drop[1] if drop else y)


class Recurrent(Entry):
    """Ids -> logits of each next id."""

    def __init__(self, vocab: int, width: int, layers: int, cell: str, context: int, pairs: int) -> None:
        """`cell` names one of `CELLS`; places in a document are told apart up to `context`."""
        super().__init__(vocab, width, context, pairs)
        self.layers, self.cell, self.masks = layers, cell, 3 * layers
        self.value_embed = nn.Embedding(vocab, width * layers)
        mark(self.value_embed, lr=5.0)
        nn.init.zeros_(self.value_embed.weight)
        self.blocks = nn.ModuleList([Block(width, cell) for _ in range(layers)])
        self.head = nn.Parameter(nn.init.normal_(torch.empty(vocab, width), std=0.001))

    def forward(self, ids: Tensor, given: Tensor | None = None, drops: Tensor | None = None) -> Tensor:
        """Logits [B, T, V] float32.

        Args:
            ids: Tokens [B, T].
            given: Added to every position's embedding [B, 1, W], a condition.
            drops: Masks of whole channels, scaled to mean 1 [3 L, B, 1, W].
        """
        dtype = working_dtype(ids)
        with torch.autocast(ids.device.type, enabled=False):
            x = self.enter(ids, given).to(dtype).transpose(0, 1)  # [T, B, W]
            extras = torch.split(self.value_embed(ids.T).to(dtype), self.width, 2)
            masks = drops[:, :, 0].to(dtype) if drops is not None else None  # [3 L, B, W]
            first = x
            for i, block in enumerate(self.blocks):
                drop = tuple(masks[3 * i : 3 * i + 3]) if masks is not None else ()
                x = block(x, first, extras[i], drop)
            return F.linear(F.layer_norm(x, (self.width,)), self.head.to(dtype)).float().transpose(0, 1)
