"""Utility: does what is learned from made rows hold for real ones? (Train on synthetic, test on real; Esteban et al.,
1706.02633)

The same learner (``nn.rows``) is fitted on made rows and asked about real test rows: one column from all others. The column
is the one that its name or place makes the target, or the last. Area under the ROC curve of two classes, share told right of
more, explained variance of numbers. The floor is the same learner on as many held-out real rows. It sees what helps this one
question.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mintage.core.spec import Evidence, Score, Spec
from mintage.core.words import say
from mintage.nn.intervals import jackknife
from mintage.nn.rows import Columns, is_table, plain, rows, trees

LEAST = 30
MOST = 5_000
PARTS = 10
FEW = 20  # ids up to which an ordered column too is one of classes
NAMED = re.compile(r"(^|_)(class|label|target|income|outcome|y|species|survived|churn|default)$", re.I)


def target_of(columns: Columns) -> int:
    """The column to be told from the others: named like one, else the last of few values, else the last."""
    few = [k for k, (low, high) in enumerate(columns.slots) if 2 <= high - low <= FEW]
    named = [k for k in few if NAMED.search(columns.names[k])]
    return (named or few or [len(columns.names) - 1])[-1]


def area(truth: np.ndarray, told: np.ndarray) -> float:
    """Area under the ROC curve: how often a one is ranked above a zero."""
    order = np.argsort(told, kind="stable")
    _, place, counts = np.unique(told[order], return_inverse=True, return_counts=True)
    rank = np.empty(len(told))
    rank[order] = (counts.cumsum() - (counts - 1) / 2)[place]  # mean rank of ties
    ones = truth > 0
    n, m = ones.sum(), (~ones).sum()
    return float((rank[ones].sum() - n * (n + 1) / 2) / (n * m)) if n and m else 0.5


def explained(truth: np.ndarray, told: np.ndarray) -> float:
    """Share of the variance of ``truth`` that is told; 0 is the mean's."""
    return float(1 - np.square(truth - told).sum() / max(1e-12, np.square(truth - truth.mean()).sum()))


class Metric:
    """One number with a jackknife interval over the test rows."""

    question = "real"

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """Only for tables, and enough rows to learn from."""
        if not is_table(target) or (target.slots and len(target.slots) < 2):
            return say("utility is for tables of several columns")
        return None if n >= LEAST else say("utility needs at least {least} held-out items, not {n}", least=LEAST, n=n)

    def __call__(self, evidence: Evidence) -> list[Score]:
        """One score."""
        columns = Columns.of(evidence)
        if len(columns.names) < 2:
            return []
        made, real = (rows(evidence, x[:MOST]) for x in (evidence.made, evidence.test))
        goal = target_of(columns)
        score, told, truth, name = self._told(columns, made, real, goal)
        whole = score(truth, told)
        part = np.arange(len(truth)) % PARTS
        left = torch.tensor([score(truth[part != k], told[part != k]) for k in range(PARTS)])
        note = say("{measure} of {column}, {n} rows", measure=name, column=columns.names[goal], n=len(made))
        return [Score("train on made, test on real", *jackknife(whole, left), "higher", note=note)]

    @staticmethod
    def _told(
        columns: Columns, made: Tensor, real: Tensor, goal: int
    ) -> tuple[Callable[[np.ndarray, np.ndarray], float], np.ndarray, np.ndarray, str]:
        """How to score, what the learner says of the real rows, what is true of them, and the score's name."""
        keep = [k for k in range(len(columns.names)) if k != goal]
        x, new = plain(columns, made, keep), plain(columns, real, keep)
        y, truth = plain(columns, made, [goal])[:, 0], plain(columns, real, [goal])[:, 0]
        low, high = columns.slots[goal]
        classes = not columns.ordered[goal] or high - low <= FEW
        if classes and len(np.unique(y)) < 2:
            told = np.full(len(new), y[0] if len(y) else 0.0)
        else:
            learner = trees(columns, keep, classes).fit(x, y)
            two = classes and high - low == 2
            told = learner.predict_proba(new)[:, 1] if two else learner.predict(new)
        if not classes:
            return explained, told, truth, say("explained variance")
        if high - low == 2:
            return area, told, truth, say("area under the ROC curve")
        return lambda a, b: float((a == b).mean()), told, truth, say("share told right")
