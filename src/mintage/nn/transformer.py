"""A small causal Transformer for token streams, shaped to train fast on a CPU and to decode from a cache.

Pre-norm blocks (Vaswani et al. 1706.03762) with normalised queries and keys (Henry et al. 2010.04245), squared ReLU (So et al.
2109.08668), zero-initialised output projections, mixing of the first layer's input into every layer and value embeddings (Jordan et
al., modded-nanogpt 2024), learned biases by distance (Raffel et al. 1910.10683), hashed embeddings of the last two tokens, and, in
windows that begin a document, embeddings of the place in it. Attention is written out: at these sizes two batched products and a
softmax beat the fused kernel's backward on CPUs. It does not know losses, sampling or what the tokens mean; its reach is `context`
tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mintage.core.spec import BOS, PAD
from mintage.nn.optim import mark

GAIN = 1.5  # sharpness of attention over normalised queries and keys


def working_dtype(x: Tensor) -> torch.dtype:
    """The dtype that the caller's autocast asks for, else float32."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32


class _SquaredRelu(torch.autograd.Function):
    """relu(x)^2 with one saved tensor and a two-pass backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = x.relu()
        ctx.save_for_backward(positive)
        return positive.square()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return torch.mul(ctx.saved_tensors[0], grad).mul_(2)


@dataclass
class Cache:
    """Keys and values of the tokens so far, for decoding: preallocated, `length` of them in use."""

    keys: Tensor  # [L, B * H, S, D]
    values: Tensor  # [L, B * H, S, D]
    bias: Tensor  # [L, B * H, S, S]
    last: Tensor  # [B, 1]: the last token seen
    whole: Tensor  # [B, 1]: does the window begin its document?
    length: int = 0


Keep = tuple[Tensor, Tensor, int]  # a layer's part of the cache, and the place of the first new token


def _uniform(rows: int, columns: int, scale: float) -> nn.Parameter:
    reach = scale * (3 / columns) ** 0.5
    return nn.Parameter(nn.init.uniform_(torch.empty(rows, columns), -reach, reach))


class Block(nn.Module):
    """Attention and a feed-forward part, each added to the stream."""

    def __init__(self, width: int, heads: int) -> None:
        """Both output projections start at zero, so that the block starts as the identity."""
        super().__init__()
        self.heads, self.depth = heads, width // heads
        self.qkv = _uniform(3 * width, width, 0.6)
        self.out = nn.Parameter(torch.zeros(width, width))
        self.up = _uniform(4 * width, width, 0.5)
        self.down = nn.Parameter(torch.zeros(width, 4 * width))
        self.mix = nn.Parameter(torch.tensor([1.0, 0.1]))  # shares of the stream and of the network's input

    def forward(self, x: Tensor, first: Tensor, extra: Tensor, bias: Tensor, keep: Keep | None, drop: Sequence[Tensor]) -> Tensor:
        """`x`, `first` [B, T, W]; `extra` [B, T, H, D] joins the values; `bias` [H, T, S]; `drop` two masks [B, 1, W] or ()."""
        b, t, width = x.shape
        kind, heads, depth = x.dtype, self.heads, self.depth
        own, start = self.mix.to(kind).unbind()
        x = x * own + first * start
        qkv = F.linear(F.layer_norm(x, (width,)), self.qkv.to(kind)).view(b, t, 3, heads, depth)
        qk, v = torch.split(qkv, [2, 1], 2)  # one copy backward, where indexing would fill and add
        q, k = F.layer_norm(qk, (depth,)).permute(2, 0, 3, 1, 4).reshape(2, b * heads, t, depth).unbind()
        v = (v.squeeze(2) + extra).transpose(1, 2).reshape(b * heads, t, depth)
        if keep is not None:
            keys, values, at = keep
            keys[:, at : at + t], values[:, at : at + t] = k, v
            k, v = keys[:, : at + t], values[:, : at + t]
        score = torch.baddbmm(q.new_zeros(()), q, k.mT, beta=0, alpha=GAIN / depth**0.5).view(b, heads, t, -1).add_(bias)
        seen = torch.bmm(score.softmax(-1).view(b * heads, t, -1), v).view(b, heads, t, depth).transpose(1, 2).reshape(b, t, width)
        y = F.linear(seen, self.out.to(kind))
        x = x + (y * drop[0] if drop else y)
        hidden = _SquaredRelu.apply(F.linear(F.layer_norm(x, (width,)), self.up.to(kind)))  # type: ignore[no-untyped-call]
        y = F.linear(hidden, self.down.to(kind))
        return x + (y * drop[1] if drop else y)


class Decoder(nn.Module):
    """Ids -> logits of each next id."""

    def __init__(self, vocab: int, width: int, layers: int, heads: int, context: int, pairs: int) -> None:
        """`pairs` is the number of rows that embeddings of two neighbouring tokens are hashed into; 0 for none."""
        super().__init__()
        self.vocab, self.width, self.layers, self.heads, self.context = vocab, width, layers, heads, context
        self.masks = 2 * layers
        self.embed = nn.Embedding(vocab, width)
        self.pair_embed = nn.Embedding(max(1, pairs), width)
        self.value_embed = nn.Embedding(vocab, width * layers)
        self.place_embed = nn.Embedding(context + 1, width)  # the last row: somewhere inside a document
        mark(self.embed, lr=5.0)
        for table, rate in ((self.pair_embed, 3.0), (self.value_embed, 5.0), (self.place_embed, 5.0)):
            mark(table, lr=rate)
            nn.init.zeros_(table.weight)
        slope = torch.logspace(0, -2.5, heads).repeat(layers) * 0.5  # each head starts with a reach of its own
        self.distance_embed = nn.Parameter(-slope * torch.arange(context)[:, None])  # [S, L * H]
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.head = nn.Parameter(nn.init.normal_(torch.empty(vocab, width), std=0.001))
        place = torch.arange(context)
        self.register_buffer("distance", (place[:, None] - place).clamp(min=0), persistent=False)
        self.register_buffer("future", torch.full((context, context), float("-inf")).triu(1), persistent=False)
        self.distance: Tensor
        self.future: Tensor

    def bias(self, length: int, dtype: torch.dtype) -> Tensor:
        """What attention adds by distance; -inf for the future. [L, H, T, T]"""
        table = F.embedding(self.distance[:length, :length], self.distance_embed)  # [T, T, L * H]
        bias = table.permute(2, 0, 1).view(self.layers, self.heads, length, length) + self.future[:length, :length]
        return bias.to(dtype)

    def cache(self, rows: int) -> Cache:
        """An empty cache for decoding `rows` streams."""
        shape = (self.layers, rows * self.heads, self.context, self.width // self.heads)
        like = self.head
        last = torch.full((rows, 1), PAD, device=like.device)
        bias = self.bias(self.context, like.dtype).repeat(1, rows, 1, 1)
        keys, values = like.new_zeros(shape), like.new_zeros(shape)
        return Cache(keys, values, bias, last, torch.zeros_like(last, dtype=torch.bool))

    def forward(self, ids: Tensor, given: Tensor | None = None, cache: Cache | None = None, drops: Tensor | None = None) -> Tensor:
        """Logits [B, T, V] float32; see ``states``."""
        return self.logits(self.states(ids, given, cache, drops))

    def logits(self, states: Tensor) -> Tensor:
        """Stream [..., W] → logits of the next id [..., V] float32."""
        with torch.autocast(states.device.type, enabled=False):
            return F.linear(states, self.head.to(states.dtype)).float()

    def states(self, ids: Tensor, given: Tensor | None = None, cache: Cache | None = None, drops: Tensor | None = None) -> Tensor:
        """What the head reads [B, T, W].

        Args:
            ids: Tokens [B, T]; with a cache, those after what it holds.
            given: Added to the positions' embeddings [B, G, W], a condition: a row a place, the last for all later ones.
            cache: Keys and values so far; extended in place. T + its length must stay within `context`.
            drops: Masks of whole channels, scaled to mean 1 [2 L, B, 1, W].
        """
        dtype = working_dtype(ids)
        with torch.autocast(ids.device.type, enabled=False):
            return self._forward(ids, given, cache, drops, dtype)

    def _enter(self, ids: Tensor, given: Tensor | None, cache: Cache | None) -> Tensor:
        """What the first block sees of tokens [B, T, W]: themselves, those before them, and their places."""
        at = cache.length if cache else 0
        last = cache.last if cache else torch.full_like(ids[:, :1], PAD)
        whole = cache.whole if cache and at else ids[:, :1] == BOS
        if cache:
            cache.whole, cache.last, cache.length = whole, ids[:, -1:], at + ids.shape[1]
        before = torch.cat([last, ids[:, :-1]], 1) if ids.shape[1] > 1 else last
        place = torch.where(whole, torch.arange(at, at + ids.shape[1], device=ids.device), self.context)
        x = self.embed(ids) + self.pair_embed((before * 1_000_003 + ids) % self.pair_embed.num_embeddings)
        x = x + self.place_embed(place)
        if given is not None and given.shape[1] > 1:
            given = given[:, torch.arange(at, at + ids.shape[1], device=ids.device).clamp(max=given.shape[1] - 1)]
        return F.layer_norm(x if given is None else x + given, (self.width,))

    def _forward(self, ids: Tensor, given: Tensor | None, cache: Cache | None, drops: Tensor | None, dtype: torch.dtype) -> Tensor:
        b, t = ids.shape
        start = cache.length if cache else 0
        x = self._enter(ids, given, cache).to(dtype)
        extras = self.value_embed(ids).to(dtype).view(b, t, self.layers, self.heads, -1).unbind(2)
        bias = cache.bias[:, : self.heads, start : start + t, : start + t] if cache else self.bias(t, dtype)
        biases = bias.unbind()
        masks = drops.to(dtype) if drops is not None else None
        first = x
        for i, block in enumerate(self.blocks):
            keep = (cache.keys[i], cache.values[i], start) if cache else None
            drop = (masks[2 * i], masks[2 * i + 1]) if masks is not None else ()
            x = block(x, first, extras[i], biases[i], keep, drop)
        return F.layer_norm(x, (self.width,))
