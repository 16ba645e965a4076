"""Does it do as asked? Classes are read back by a classifier, captions are ranked, forms of texts are counted.

Classes: the feature network, taught on the train split alone, reads each made item; its own mistakes on real items are
the floor beside it. Captions: ridge regression from features to hashed words of the caption, taught on training pairs;
the asked caption should beat nine others (chance 0.1). Forms: where nearly all training texts of a class share their
number of lines and characters a line, as poems do, made ones should too. A classifier can be fooled; a person decides.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from mintage.core.spec import RESERVED, Evidence, Score, Spec
from mintage.core.words import say
from mintage.nn.intervals import share
from mintage.nn.noise import Noise

OTHERS = 9
RIDGE = 30.0
WORDS = 512
FIXED = 0.8  # share of a class's texts that must have one form before it is asked of made ones
LINES = re.compile(r"[^\n，。；！？、,.;!?：:]+")


def form(text: str) -> tuple[int, ...]:
    """Characters of each line or clause."""
    return tuple(len(piece.strip()) for piece in LINES.findall(text) if piece.strip())


def forms(texts: Sequence[str], labels: Tensor) -> dict[int, tuple[int, ...]]:
    """The form that nearly all texts of a class have, for classes that have one."""
    found = {}
    for label in sorted(set(labels.tolist())):
        counts = Counter(form(text) for text, own in zip(texts, labels.tolist(), strict=True) if own == label)
        common, n = counts.most_common(1)[0]
        if n >= FIXED * counts.total() and len(common) > 1:
            found[label] = common
    return found


def bag(captions: Tensor) -> Tensor:
    """Captions [N, L] as hashed pairs and singles of ids, of unit length: [N, WORDS]."""
    ids = captions.long()
    pairs = (ids[:, 1:] * 31 + ids[:, :-1]) % (WORDS // 2) + WORDS // 2
    used = ids >= RESERVED
    counts = torch.zeros(len(ids), WORDS)
    counts.scatter_add_(1, ids % (WORDS // 2), used.float())
    counts.scatter_add_(1, pairs, (used[:, 1:] & used[:, :-1]).float())
    return torch.nn.functional.normalize(counts, dim=1)


def ranked_first(made: Tensor, asked: Tensor, train: Tensor, captions: Tensor, noise: Noise) -> Tensor:
    """Whether each made row's asked caption beats nine other captions under a scorer taught on training pairs: [N]."""
    words, mean = bag(captions), bag(captions).mean(0)
    solved = torch.linalg.solve(train.T @ train + RIDGE * torch.eye(train.shape[1]), train.T @ (words - mean))
    guess = made @ solved  # [N, WORDS]
    wanted = bag(asked) - mean
    others = wanted[noise.integers(0, len(wanted), (len(wanted), OTHERS))]  # [N, 9, WORDS]
    same = (others - wanted[:, None]).abs().sum(2) < 1e-6  # an equal caption is no rival
    rival = (others * guess[:, None]).sum(2).masked_fill(same, -torch.inf)
    first: Tensor = (guess * wanted).sum(1) > rival.max(1).values
    return first


class Metric:
    """Share of made items that are what was asked."""

    question = "obeys"

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """One item can be asked."""
        return None if n >= 1 else say("nothing was made")

    def __call__(self, evidence: Evidence) -> list[Score]:
        """Empty when nothing was asked."""
        scores = []
        if "class" in evidence.asked and evidence.features.classes:
            scores.append(self._classes(evidence))
        if "caption" in evidence.asked and "captions" in evidence.extra:
            scores.append(self._captions(evidence))
        if "class" in evidence.asked and "texts" in evidence.extra:
            scores += self._forms(evidence)
        return scores

    def _classes(self, evidence: Evidence) -> Score:
        asked = evidence.asked["class"].long()
        read = evidence.features.read(evidence.made).exp()
        known = asked < read.shape[1]
        sure = read.gather(1, asked.clamp(max=read.shape[1] - 1)[:, None])[:, 0]
        wrong = known & (read.argmax(1) != asked)
        worst = torch.nonzero(wrong).flatten()
        worst = worst[sure[worst].argsort()]
        n = int(known.sum())
        return Score("read as asked", *share(n - int(wrong.sum()), n), "higher", tuple(worst.tolist()), f"n = {n}")

    def _captions(self, evidence: Evidence) -> Score:
        rows = evidence.extra["captions"]  # of the first training items
        made, train = (
            torch.cat([evidence.features(x), evidence.features(x, view=2)], 1) for x in (evidence.made, evidence.train[: len(rows)])
        )
        first = ranked_first(made, evidence.asked["caption"], train, rows, evidence.noise.fork("captions"))
        wrong = tuple(torch.nonzero(~first).flatten().tolist())
        n = len(first)
        value = share(int(first.sum()), n)
        return Score("caption ranked first of ten", *value, "higher", wrong, f"n = {n}, chance 0.1")

    def _forms(self, evidence: Evidence) -> list[Score]:
        texts = evidence.extra["texts"]
        wanted = forms(texts["train"], evidence.labels["train"][: len(texts["train"])])
        asked = evidence.asked["class"].tolist()
        bound = [i for i, label in enumerate(asked) if label in wanted]
        if not bound:
            return []
        wrong = tuple(i for i in bound if form(texts["made"][i]) != wanted[asked[i]])
        value = share(len(bound) - len(wrong), len(bound))
        return [Score("keeps the asked form", *value, "higher", wrong, f"n = {len(bound)}")]
