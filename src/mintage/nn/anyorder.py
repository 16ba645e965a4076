"""A causal Transformer over the columns of a row in any order: each is told from those before it, whichever they are.

A row is read in an order of its own (order-agnostic autoregression: Uria et al. 2014; Yang et al., 1906.08237; Pannatier et
al., 2404.09562): every token stands for a value and for the column that is asked next. So one pass teaches all columns of a
row, each with a random set of others hidden, and drawing remembers keys and values: a row costs one pass in all, given columns
simply come first. Logits are computed over a column's own ids alone. It does not know what the ids mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mintage.core.errors import UsageError
from mintage.core.words import say
from mintage.nn.layers import feed_forward, uniform, working_dtype
from mintage.nn.optim import mark

GAIN = 1.5  # sharpness of attention over normalised queries and keys


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """What each place of q [N, T, D] sees of k and v [N, T, D] up to itself; backward, seven times as fast as the fused kernel."""
    score = torch.baddbmm(q.new_full((1, q.shape[1], q.shape[1]), -math.inf).triu(1), q, k.mT, alpha=GAIN / q.shape[-1] ** 0.5)
    return torch.bmm(score.softmax(-1), v)


class Block(nn.Module):
    """Attention to what came before and a feed-forward part, each added to the stream."""

    def __init__(self, width: int, heads: int) -> None:
        """Both output projections start at zero, so that the block starts as the identity."""
        super().__init__()
        self.heads = heads
        self.qkv = uniform(3 * width, width, 0.6)
        self.out = nn.Parameter(torch.zeros(width, width))
        self.up = uniform(4 * width, width, 0.5)
        self.down = nn.Parameter(torch.zeros(width, 4 * width))

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None, at: int, drop: Sequence[Tensor]) -> Tensor:
        """The stream [B, T, W] after this block.

        Args:
            x: Tokens; with ``past`` the one at place ``at`` alone, T = 1.
            past: Keys and values of all places [B, H, C, D], filled on the way; without it a place sees those before it in ``x``.
            at: Place of the first token.
            drop: Two masks of channels [B, 1, W], or none.
        """
        b, t, width = x.shape
        kind = x.dtype
        qkv = F.linear(F.layer_norm(x, (width,)), self.qkv.to(kind)).view(b, t, 3, self.heads, -1)
        qk, v = torch.split(qkv, [2, 1], 2)
        q, k = F.layer_norm(qk, (qk.shape[-1],)).permute(2, 0, 3, 1, 4).unbind()  # [B, H, T, D]
        v = v.squeeze(2).transpose(1, 2)
        if past is None:
            seen = _attend(*(part.reshape(b * self.heads, t, -1) for part in (q, k, v))).view(b, self.heads, t, -1)
        else:
            past[0][:, :, at : at + 1], past[1][:, :, at : at + 1] = k, v
            keys, values = past[0][:, :, : at + 1], past[1][:, :, : at + 1]
            seen = F.scaled_dot_product_attention(q, keys, values, scale=GAIN / q.shape[-1] ** 0.5)
        seen = seen.transpose(1, 2).reshape(b, t, width)
        y = F.linear(seen, self.out.to(kind))
        x = x + (y * drop[0] if drop else y)
        y = feed_forward(x, self.up, self.down)
        return x + (y * drop[1] if drop else y)


class AnyOrder(nn.Module):
    """Ids of a row in any order → logits of each column."""

    def __init__(self, slots: Sequence[tuple[int, int]], width: int, layers: int, heads: int) -> None:
        """``slots`` is the range of ids of each column, in ascending order."""
        if width % heads:
            raise UsageError(say("-o heads={heads}: choose a divisor of the width {width}.", heads=heads, width=width))
        super().__init__()
        self.slots, self.columns = tuple(slots), len(slots)
        self.width, self.heads, self.masks = width, heads, 2 * layers
        vocab = max(high for _, high in slots)
        self.embed, self.ask_embed = nn.Embedding(vocab, width), nn.Embedding(self.columns, width)  # of BOS: the row's begin
        for table in (self.embed, self.ask_embed):
            mark(table, lr=5.0)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.head = nn.Parameter(nn.init.normal_(torch.empty(vocab, width), std=0.001))
        self.head_bias = nn.Parameter(torch.zeros(vocab))
        low = torch.tensor([low for low, _ in slots])
        place = torch.arange(max(high - low for low, high in slots))
        own = low[:, None] + place
        self.register_buffer("own", own.clamp(max=vocab - 1), persistent=False)  # [C, M] ids of each column
        none = own >= torch.tensor([high for _, high in slots])[:, None]
        self.register_buffer("none", torch.zeros(own.shape).masked_fill(none, -math.inf), persistent=False)
        self.own: Tensor
        self.none: Tensor

    def _enter(self, before: Tensor, asked: Tensor, given: Tensor | None) -> Tensor:
        """Values already told [B, T] and the columns asked after them [B, T] → the stream [B, T, W]."""
        x = self.embed(before) + self.ask_embed(asked)
        return F.layer_norm(x if given is None else x + given, (self.width,)).to(working_dtype(before))

    def forward(self, ids: Tensor, order: Tensor, given: Tensor | None = None, drops: Tensor | None = None) -> Tensor:
        """Log probability of each column's id given those before it in ``order``. [B, C] in the columns' own order

        Args:
            ids: Rows [B, C].
            order: Which column comes when [B, C].
            given: A condition, added to all embeddings [B, 1, W].
            drops: Masks of whole channels, scaled to mean 1 [2 L, B, 1, W].
        """
        before = F.pad(ids.gather(1, order)[:, :-1], (1, 0), value=1)  # BOS
        x = self._enter(before, order, given)
        masks = drops.to(x.dtype) if drops is not None else None
        for i, block in enumerate(self.blocks):
            x = block(x, None, 0, (masks[2 * i], masks[2 * i + 1]) if masks is not None else ())
        x = F.layer_norm(x, (self.width,))
        back = order.argsort(1)[..., None].expand(-1, -1, self.width)
        hidden = x.gather(1, back).unbind(1)  # by column
        told = []
        for k, (low, high) in enumerate(self.slots):
            logits = F.linear(hidden[k], self.head[low:high].to(x.dtype), self.head_bias[low:high].to(x.dtype))
            told.append(-F.cross_entropy(logits.float(), ids[:, k] - low, reduction="none"))
        return torch.stack(told, 1)

    @torch.inference_mode()
    def draw(
        self, known: Tensor, order: Tensor, points: Tensor, given: Tensor | None = None, temperature: float = 1.0,
        forbid: Sequence[int] = (),
    ) -> Tensor:  # fmt: skip
        """Rows drawn column by column. [B, C]

        Args:
            known: Ids where a column is given, 0 where it is to be drawn [B, C].
            order: Which column comes when [B, C]; given ones should come first.
            points: Where in its distribution each draw falls, 0…1 [B, C], by place in the order.
            given: A condition, added to all embeddings [B, 1, W].
            temperature: Sharpness.
            forbid: Ids that are not drawn.
        """
        b, made = len(known), known.clone()
        before, kind = torch.ones(b, 1, dtype=torch.int64), working_dtype(known)
        shape = (b, self.heads, self.columns, self.width // self.heads)
        pasts = [(torch.empty(shape, dtype=kind), torch.empty(shape, dtype=kind)) for _ in self.blocks]
        head, bias = self.head.to(kind), self.head_bias.to(kind)
        bias = bias.index_fill(0, torch.tensor(forbid, dtype=torch.int64), -math.inf) if forbid else bias
        for at in range(self.columns):
            asked = order[:, at : at + 1]
            x = self._enter(before, asked, given)
            for block, past in zip(self.blocks, pasts, strict=True):
                x = block(x, past, at, ())
            logits = F.linear(F.layer_norm(x[:, 0], (self.width,)), head, bias)  # [B, V]: always as many, whatever is asked
            own = self.own[asked[:, 0]]
            wanted = logits.gather(1, own).float() / max(temperature, 1e-4) + self.none[asked[:, 0]]
            total = wanted.softmax(1).cumsum(1)
            place = (total < points[:, at : at + 1] * total[:, -1:]).sum(1, keepdim=True).clamp(max=own.shape[1] - 1)
            told = known.gather(1, asked)
            before = torch.where(told > 0, told, own.gather(1, place))
            made.scatter_(1, asked, before)
        return made
