"""Classifier two-sample test: how often a classifier tells made from real (Lopez-Paz & Oquab 2017). 0.5 is perfect.

A kernel ridge classifier (Gaussian kernel of median width) judges items that it was not fitted on, in five folds with equal
numbers made and real, once on the trained features and once on the view without weights. It is as sharp as the features: what
they do not hold it cannot tell. Rows of a table are judged by boosted trees on the cells themselves. With few items it errs
on the kind side, so read it beside the sketch.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mintage.core.spec import Evidence, Score, Spec
from mintage.core.words import say
from mintage.nn.intervals import share
from mintage.nn.noise import Noise
from mintage.nn.rows import Columns, is_table, plain, rows, trees

LEAST = 30
MOST = 1_000
TREES, ROWS = 100, 2_000  # rows of a table from which, and up to which, trees judge
FOLDS = 5
RIDGE = 0.3


def told(made: Tensor, real: Tensor, noise: Noise) -> Tensor:
    """How surely each row of made and real (equally many, [N, D] each) is taken for made, > 0 is made: [2N]."""
    n = len(made)
    x = torch.cat([made, real]).double()
    side = torch.cat([torch.ones(n), -torch.ones(n)]).double()
    fold = noise.permutation(n).repeat(2) % FOLDS
    gap = torch.cdist(x, x).square()
    kernel = torch.exp(-gap / gap.median().clamp(min=1e-12))
    score = torch.empty(2 * n, dtype=torch.float64)
    for i in range(FOLDS):
        seen, new = fold != i, fold == i
        inner = kernel[seen][:, seen] + RIDGE * torch.eye(int(seen.sum()), dtype=torch.float64)
        score[new] = kernel[new][:, seen] @ torch.linalg.solve(inner, side[seen])
    return score


class Metric:
    """Share told apart, with Wilson's interval; the most obviously made items lead ``worst_ids``."""

    question = "real"

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """A classifier fitted on a handful tells nothing."""
        if n >= LEAST:
            return None
        return say("the two-sample test needs at least {least} held-out items, not {n}", least=LEAST, n=n)

    def __call__(self, evidence: Evidence) -> list[Score]:
        """One score a view."""
        n = min(len(evidence.made), len(evidence.test), MOST)
        scores = []
        if is_table(evidence.target) and n >= TREES:
            return [self._by_trees(evidence)]
        for view, name in ((1, "two-sample accuracy"), (2, "two-sample accuracy (plain view)")):
            made, real = (evidence.features(x[:n], view=view) for x in (evidence.made, evidence.test))
            score = told(made, real, evidence.noise.fork("twosample", view))
            right = int((score[:n] > 0).sum() + (score[n:] <= 0).sum())
            worst = tuple(score[:n].argsort(descending=True)[: n // 4].tolist())
            scores.append(Score(name, *share(right, 2 * n), "lower", worst, f"n = {n} + {n}, five folds"))
        return scores

    @staticmethod
    def _by_trees(evidence: Evidence) -> Score:
        """What boosted trees tell of the rows of a table."""
        columns, noise = Columns.of(evidence), evidence.noise.fork("twosample", "trees")
        n = min(len(evidence.made), len(evidence.test), ROWS)
        keep = list(range(len(columns.names)))
        x = np.concatenate([plain(columns, rows(evidence, part[:n]), keep) for part in (evidence.made, evidence.test)])
        side, fold = np.repeat([1, 0], n), (noise.permutation(n).repeat(2) % FOLDS).numpy()
        told = np.empty(2 * n)
        for i in range(FOLDS):
            told[fold == i] = trees(columns, keep, True).fit(x[fold != i], side[fold != i]).predict_proba(x[fold == i])[:, 1]
        right = int(((told > 0.5) == side).sum())
        worst = tuple(np.argsort(-told[:n])[: n // 4].tolist())
        return Score("two-sample accuracy", *share(right, 2 * n), "lower", worst, f"n = {n} + {n}, five folds, trees")
