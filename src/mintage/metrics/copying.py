"""Copies of training items, tested against how often held-out real items look like copies.

What counts as a copy is in ``nn.copies``: a local distance ratio for grids, the longest verbatim passage for texts
(sixty characters, or three fifths of a short text); a row is one where all its columns fall in the bins of one training row,
as the rows of a narrow table often do. One-sided Fisher test against held-out items. It does not see a
copy that was recoloured, cropped or paraphrased, and a pass is no promise of privacy.
"""

from __future__ import annotations

from statistics import median

import torch

from mintage.core.spec import Evidence, Score, Spec
from mintage.core.words import say
from mintage.nn.copies import CLOSE, CopySearch, Verbatim
from mintage.nn.features import outline
from mintage.nn.intervals import fisher, mean, share

PASSAGE = 60  # characters that nobody writes twice by chance
PART = 0.6  # of a short text


def judged(hits: list[int], n: int, held: int, held_n: int, name: str) -> list[Score]:
    """The share of copies, and how likely it is if the made set copies no more than held-out items do."""
    p = fisher(len(hits), n, held, held_n)
    note = f"{len(hits)} of {n} made, {held} of {held_n} held out"
    return [
        Score(name, *share(len(hits), n), "lower", tuple(hits), note),
        Score("copy p-value", p, p, p, "none", note="one-sided Fisher test against held-out items"),
    ]


class Metric:
    """Share of copies with Wilson's interval, and the p-value that decides."""

    question = "its own"

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """One held-out item is enough to compare with."""
        return None if n >= 1 else say("copying is tested against held-out items, and there are none")

    def __call__(self, evidence: Evidence) -> list[Score]:
        """Copies first in ``worst_ids``, the closest one leading."""
        if evidence.target.kind == "grid":
            return self._grids(evidence)
        return self._rows(evidence) if evidence.target.slots else self._texts(evidence)

    def _rows(self, evidence: Evidence) -> list[Score]:
        known = set(map(tuple, evidence.extra["rows"].tolist()))
        made, held = ([tuple(row) in known for row in x.tolist()] for x in (evidence.made, evidence.test))
        return judged([i for i, hit in enumerate(made) if hit], len(made), sum(held), len(held), "copies")

    def _grids(self, evidence: Evidence) -> list[Score]:
        search = evidence.extra.get("copies") or CopySearch(outline(evidence.train))
        ratio, _ = search.ratio(evidence.made)
        held, _ = search.ratio(evidence.test)
        order = ratio.argsort()
        hits = order[ratio[order] < CLOSE].tolist()
        return judged(hits, len(ratio), int((held < CLOSE).sum()), len(held), "copies")

    def _texts(self, evidence: Evidence) -> list[Score]:
        search: Verbatim = evidence.extra.get("copies") or Verbatim(evidence.extra["texts"]["train"])
        made, test = evidence.extra["texts"]["made"], evidence.extra["texts"]["test"]
        found, held = search.longest(made), search.longest(test)
        limit = min(PASSAGE, max(8, PART * median(len(text) for text in test)))
        lengths = torch.tensor([float(length) for _, length in found])
        hits = [i for i in lengths.argsort(descending=True).tolist() if lengths[i] >= limit]
        novel = torch.tensor(search.novel(made))
        noise = evidence.noise.fork("passages")
        return [
            *judged(hits, len(made), sum(length >= limit for _, length in held), len(held), "copies"),
            Score("longest verbatim passage", *mean(lengths, noise), "none", note="characters, mean over texts"),
            Score("new 12-character passages", *mean(novel, noise), "none", note="share not in the training text"),
        ]
