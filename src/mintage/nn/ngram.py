"""A strong n-gram model of token sequences: interpolated, discounted, order and smoothing chosen on held-out rows.

Each order mixes with the next lower one,
p(w|c) = (max(n(c,w) - D, 0) + (S + D t(c) + l(c)) p(w|shorter c)) / (n(c) + S),
where t(c) counts the different tokens kept after c and l(c) those too rare to keep. This is the predictive rule of the
hierarchical Pitman-Yor process (Teh 2006); S = 0 is Kneser & Ney 1995 as Chen & Goodman 1998 interpolate it. Counts live
in a trie of sorted integer keys, so fitting is a sort per order and everything is exact: no hashing. N-grams that occur
fewer than three times are not kept, so that no rare piece of the training text travels with a model. It does not know
conditions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray
Fact = tuple[Array, ...]  # count, total, types, lost
DISCOUNTS = (0.1, 0.3, 0.5, 0.7, 0.85, 0.95)
STRENGTHS = (0.0, 0.5, 2.0, 10.0)
ORDERS = 8
SEEN = 3  # n-grams that occur less often are counted but not kept
READY = 1024  # ids at most for which distributions after one token are kept
JUDGES = 20_000  # held-out tokens that choose the smoothing


@dataclass
class _Level:
    """All n-grams of one length: `key` = (number of the n-gram without its last token) * vocab + last token, ascending."""

    key: Array  # [M] int64
    count: Array  # [M] float64; how often it occurs, or after how many different tokens it does
    total: Array  # [P] float64; sum of the counts under each shorter n-gram, those not kept included
    types: Array  # [P] float64; how many different tokens are kept under it
    lost: Array  # [P] float64; sum of the counts that are not kept
    token: Array  # [M] the last token of each n-gram
    start: list[int]  # [P + 1] the first n-gram under each shorter one


def _find(level: _Level, parent: Array, token: Array, vocab: int) -> Array:
    """Number of the n-gram `parent` + `token`, -1 where it was never seen."""
    key = parent * vocab + token
    at = np.minimum(np.searchsorted(level.key, key), len(level.key) - 1)
    return np.where((parent >= 0) & (level.key[at] == key), at, -1)


class Ngram:
    """An n-gram model over ids 0 … vocab - 1; `fit`, then `log_prob`; `follow` and `following` to write with it."""

    def __init__(self, vocab: int, seen: int = SEEN) -> None:
        """Nothing is known yet; n-grams that occur fewer than `seen` times will not be kept."""
        self.vocab, self.seen = vocab, seen
        self.levels: list[_Level] = []
        self.discount: list[float] = []
        self.strength: list[float] = []
        self._ready: list[tuple[Array, Array, Array]] | None = None  # see _rules
        self._after: dict[int, Array] = {}  # distributions after one token, which are dense, by the number of that token

    @property
    def order(self) -> int:
        """Longest n-gram in use, its last token included."""
        return len(self.discount)

    def fit(self, x: Tensor, length: Tensor, orders: int = ORDERS) -> None:
        """Learn from rows `x` [B, T] of which `length` [B] tokens are real; the last tenth chooses order and smoothing."""
        rows, size = x.numpy().astype(np.int64), length.numpy()
        self._ready = None
        cut = len(rows) - max(1, len(rows) // 10) if len(rows) > 1 else 1
        self._count(rows[:cut], size[:cut], orders)
        self._tune(*((rows[cut:], size[cut:]) if cut < len(rows) else (rows, size)))
        if cut < len(rows):
            self._count(rows, size, self.order)

    def _count(self, rows: Array, size: Array, orders: int) -> None:
        real = np.arange(rows.shape[1]) < size[:, None]
        token = rows[real]
        place = np.broadcast_to(np.arange(rows.shape[1]), rows.shape)[real]
        node = np.zeros(len(token), np.int64)
        grams: list[tuple[Array, Array, Array, int]] = []
        for n in range(1, orders + 1):
            before = np.zeros_like(node) if n == 1 else np.concatenate([[-1], node[:-1]])
            inside = (place >= n - 1) & (place >= 1)  # bos itself is never predicted
            if n > 1:
                inside &= before >= 0
            key, number, count = np.unique((before * self.vocab + token)[inside], return_inverse=True, return_counts=True)
            if n == 1:  # bos and every other id can be a context
                key, number, count = np.arange(self.vocab), token, np.bincount(token[inside], minlength=self.vocab)
                inside = np.ones_like(inside)
            shorter, node = node, np.full(len(token), -1)
            node[inside] = number
            suffix = np.zeros(len(key), np.int64)
            suffix[number] = shorter[inside]  # the n-gram without its first token
            grams.append((key, count, suffix, 1 if n == 1 else len(grams[-1][0])))
        self.levels, kept_before, renumber = [], np.zeros(1, np.int64), np.zeros(1, np.int64)
        for n, (key, raw, _, parents) in enumerate(grams):
            left = np.bincount(grams[n + 1][2], minlength=len(key)) if n + 1 < orders else raw
            count = np.where(left > 0, left, np.minimum(raw, 1)).astype(np.float64)
            total = np.bincount(key // self.vocab, count, minlength=parents)
            kept = (raw >= self.seen) | (n == 0)
            if not kept.any():  # a text so short that nothing repeats
                break
            own = renumber[key // self.vocab] * self.vocab + key % self.vocab
            self.levels.append(self._level(own[kept], count[kept], total[kept_before]))
            kept_before, renumber = np.flatnonzero(kept), np.cumsum(kept) - 1

    def _level(self, key: Array, count: Array, total: Array) -> _Level:
        parent = key // self.vocab
        types = np.bincount(parent, count > 0, minlength=len(total))
        start = np.searchsorted(parent, np.arange(len(total) + 1)).tolist()
        return _Level(key, count, total, types, total - np.bincount(parent, count, minlength=len(total)), key % self.vocab, start)

    def _nodes(self, rows: Array) -> list[Array]:
        """Number of the n-gram of each length, 0 up, that ends at each token; -1 where it is not kept. [B, T] each."""
        nodes = [np.zeros_like(rows)]
        for n, level in enumerate(self.levels):
            before = nodes[-1] if n == 0 else np.pad(nodes[-1][:, :-1], ((0, 0), (1, 0)), constant_values=-1)
            nodes.append(_find(level, before, rows, self.vocab))
        return nodes

    def _facts(self, nodes: Sequence[Array]) -> Iterator[Fact]:
        """For each order: count of the n-gram that ends at each token, total, types and lost of its context. [B, T - 1]"""
        for n, level in enumerate(self.levels):
            context, found = nodes[n][:, :-1], nodes[n + 1][:, 1:]
            count = np.where(found >= 0, level.count[found], 0.0)
            total = np.where(context >= 0, level.total[context], 0.0)
            yield count, total, level.types[context], level.lost[context]

    @staticmethod
    def _mix(p: Array, fact: Fact, discount: float, strength: float) -> Array:
        """One order on top of the shorter ones; a context never seen adds nothing."""
        count, total, types, lost = fact
        mixed = np.maximum(count - discount, 0) + (strength + lost + discount * types) * p
        return np.where(total > 0, mixed / np.maximum(total + strength, 1e-300), p)

    def _tune(self, rows: Array, size: Array) -> None:
        """Choose each order's discount and strength by turns, then the order, all by the loss of held-out tokens."""
        real = (np.arange(1, rows.shape[1]) < size[:, None]).nonzero()
        every = max(1, len(real[0]) // JUDGES)
        at = real[0][::every], real[1][::every]
        facts = [tuple(part[at] for part in fact) for fact in self._facts(self._nodes(rows))]
        self.discount, self.strength = [0.7] * len(facts), [1.0] * len(facts)
        for _ in range(2):
            shorter = np.full(len(at[0]), 1 / self.vocab)
            for n, fact in enumerate(facts):
                choices = [(self._loss(shorter, facts[n:], n, d, s), d, s) for d in DISCOUNTS for s in STRENGTHS]
                _, self.discount[n], self.strength[n] = min(choices)
                shorter = self._mix(shorter, fact, self.discount[n], self.strength[n])
        p, losses = np.full(len(at[0]), 1 / self.vocab), []
        for fact, d, s in zip(facts, self.discount, self.strength, strict=True):
            p = self._mix(p, fact, d, s)
            losses.append(-np.log(p).mean())
        keep = int(np.argmin(losses)) + 1
        self.discount, self.strength, self.levels = self.discount[:keep], self.strength[:keep], self.levels[:keep]

    def _loss(self, p: Array, facts: Sequence[Fact], first: int, discount: float, strength: float) -> float:
        """Mean nats on top of `p` if order `first` had these numbers and the higher orders kept theirs."""
        numbers = [(discount, strength), *zip(self.discount[first + 1 :], self.strength[first + 1 :], strict=True)]
        for fact, (d, s) in zip(facts, numbers, strict=True):
            p = self._mix(p, fact, d, s)
        return float(-np.log(p).mean())

    def token_log_prob(self, x: Tensor) -> Tensor:
        """Log probability in nats of each token but the first, given those before it in its row. [B, T] -> [B, T - 1]"""
        rows = x.numpy().astype(np.int64)
        p = np.full((rows.shape[0], rows.shape[1] - 1), 1 / self.vocab)
        for fact, d, s in zip(self._facts(self._nodes(rows)), self.discount, self.strength, strict=True):
            p = self._mix(p, fact, d, s)
        return torch.from_numpy(np.log(p)).float()

    def log_prob(self, x: Tensor, length: Tensor) -> Tensor:
        """Log probability in nats of the real tokens of each row after its first. [B]"""
        real = torch.arange(1, x.shape[1]) < length[:, None]
        return (self.token_log_prob(x) * real).sum(1)

    def _rules(self) -> list[tuple[Array, Array, Array]]:
        """Of each order: what each n-gram adds, before it is divided; the total of each context; the share it passes on."""
        if self._ready is None:
            self._ready = []
            for level, d, s in zip(self.levels, self.discount, self.strength, strict=False):
                total = level.total + s
                passed = (s + level.lost + d * level.types) / np.maximum(total, 1e-300)
                self._ready.append((np.maximum(level.count - d, 0), np.where(level.total > 0, total, 0), passed))
        return self._ready

    def following(self, nodes: Sequence[int]) -> Array:
        """Distribution after a context given as its n-gram numbers, shortest first. [V]"""
        found = []  # for each order that knows the context: its level, what it adds, total, passed on, n-gram number
        for level, (added, totals, passed), node in zip(self.levels, self._rules(), nodes, strict=False):
            total = totals.item(node) if node >= 0 else 0.0
            if not total:
                break
            found.append((level, added, total, passed.item(node), node))
        short = 2 if len(found) > 2 and self.vocab <= READY else 0  # orders that are told by a table
        share, tokens, parts = 1.0, [], []  # the share that longer contexts leave to shorter ones
        for level, added, total, passed_on, node in reversed(found[short:]):
            kept = slice(level.start[node], level.start[node + 1])
            tokens.append(level.token[kept])
            parts.append(added[kept] * (share / total))
            share *= passed_on
        counted = np.bincount(np.concatenate(tokens), np.concatenate(parts), self.vocab)
        if short and nodes[1] not in self._after:
            self._after[nodes[1]] = self.following(nodes[:short])
        return np.asarray(counted + share * (self._after[nodes[1]] if short else 1 / self.vocab))

    def follow(self, nodes: Sequence[int], token: int) -> list[int]:
        """The n-gram numbers after one more token: the empty one, then one of each length."""
        found = [0]
        for level, node in zip(self.levels[:-1], nodes, strict=False):
            low, high = (level.start[node], level.start[node + 1]) if node >= 0 else (0, 0)
            at = low + int(level.token[low:high].searchsorted(token))
            found.append(at if at < high and level.token[at] == token else -1)
        return found

    def state(self) -> dict[str, Tensor]:
        """Everything, as tensors by flat name."""
        smoothing = torch.tensor([self.discount, self.strength], dtype=torch.float64)
        found = {"vocab": torch.tensor(self.vocab), "smoothing": smoothing}
        for n, level in enumerate(self.levels):
            found |= {f"key{n}": torch.from_numpy(level.key), f"count{n}": torch.from_numpy(level.count.astype(np.int32))}
            found[f"total{n}"] = torch.from_numpy(level.total.astype(np.int32))
        return found

    @classmethod
    def restore(cls, state: Mapping[str, Tensor]) -> Ngram:
        """The model that `state()` described."""
        model = cls(int(state["vocab"]))
        model.discount, model.strength = state["smoothing"].tolist()
        for n in range(model.order):
            key, count, total = (state[f"{part}{n}"].numpy() for part in ("key", "count", "total"))
            model.levels.append(model._level(key, count.astype(np.float64), total.astype(np.float64)))
        return model
