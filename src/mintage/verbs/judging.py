"""What judging keeps ready for a run: its feature net, its training index, and the three live dials.

Each is made once from the train split by a fixed, seeded recipe and kept in ``index/``, which never leaves with an
export: a judge must not travel with the judged. The feature net is also kept in the cache, so that all runs on the same
data face the very same one, and texts are judged in windows of one length, whatever a family's context is. The dials are
the report's own measures on few samples, so they jitter; nothing is decided by them but the collapse alarm.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mintage.core.config import to_json
from mintage.core.errors import StoreError
from mintage.core.protocols import Codec
from mintage.core.spec import Recipe, Score
from mintage.core.store import Run, load_tensors, save_tensors, write_bytes
from mintage.metrics.coverage import reached
from mintage.metrics.kernel import distance, interval
from mintage.nn.copies import CLOSE, CopySearch
from mintage.nn.features import VERSION, Features, outline
from mintage.nn.noise import Noise
from mintage.verbs.dataset import Dataset, longest
from mintage.verbs.inspect import cache_folder

SEED = 0  # of the judge; not the run's, so that all runs on one data set face the same judge
WINDOW = 129  # tokens of a text that is judged, at most
TEXTS = 3_000  # training windows from which the views of texts are learned
REAL = 512  # held-out items behind the dials
HELD = 2_000  # held-out items that set the guard's limit
WHOLE = 30  # held-out documents from which each gives one item
RARE = 0.005  # share of held-out real items that the guard may take for copies
PART = 4_096  # items whose outlines are made at once


def as_judged(dataset: Dataset) -> Dataset:
    """The data in the form that is judged: texts in windows that do not depend on the family; grids and rows as they are."""
    if dataset.target.kind == "grid" or dataset.target.slots:
        return dataset
    window = min(WINDOW, longest(np.diff(dataset.parts["train"].offsets)))
    return Dataset(dataset.target.at(token=window), dataset.parts)


def sampled(dataset: Dataset, split: str, most: int) -> tuple[Tensor, dict[str, Tensor]]:
    """At most ``most`` random items of a split in model form, with what came with them.

    Texts longer than the target give one window for each span that they hold, so that one long text too has many items. Where
    enough documents are held out, each gives its beginning: windows of one document are alike and would count as many.
    """
    part, noise = dataset.parts[split], Noise("judge", SEED, split)
    if dataset.target.kind == "grid":
        rows = noise.permutation(len(part))[:most]
        stored = torch.from_numpy(np.array(part.data[rows.numpy()]))
        x = stored.float().div_(127.5).sub_(1.0) if stored.dtype == torch.uint8 else stored
    else:
        spans = np.diff(part.offsets) // max(1, dataset.target.shape[0])
        if split != "train" and len(part) >= WHOLE:  # what is made begins where a document does
            spans = np.ones(len(part), np.int64)
        slots = np.repeat(np.arange(len(part)), np.maximum(1, spans))
        place = np.concatenate([np.linspace(0, 1, max(1, n)) for n in spans] or [np.empty(0)])
        chosen = noise.permutation(len(slots))[:most]
        rows = torch.from_numpy(slots)[chosen]
        x = dataset.windows(part, rows, torch.from_numpy(place)[chosen].float())[0]
    return x, {name: values[rows] for name, values in part.given.items()}


def features_for(run: Run, dataset: Dataset, recipe: Recipe) -> Features:
    """The run's feature net: from ``index/``, else from the cache, else learned now."""
    path = run.index / f"features-{VERSION}.safetensors"
    classes = recipe.cond["class"].vocab if "class" in recipe.cond and recipe.target.kind == "grid" else 0
    features = Features(recipe.target, classes)
    shared = _shared(dataset, recipe, classes)
    for known in (path, shared):
        if known.exists():
            with suppress(StoreError, RuntimeError):  # a damaged one is learned again
                features.load_state_dict(load_tensors(known))
                if known is shared:
                    save_tensors(path, features.state_dict())
                return features.eval()
    train, given = sampled(dataset, "train", TEXTS if recipe.target.kind == "tokens" else 8_000)
    labels = given.get("class") if classes else None
    bf16 = recipe.dtype == "bfloat16"
    features = Features.fit(recipe.target, train, labels, classes, Noise("features", SEED), bf16=bf16)
    save_tensors(path, features.state_dict())
    with suppress(StoreError):  # a cache that cannot be written costs seconds, no more
        save_tensors(shared, features.state_dict())
    return features


def _shared(dataset: Dataset, recipe: Recipe, classes: int) -> Path:
    """Where the feature net of this data at this size lies for all runs."""
    what = (VERSION, SEED, recipe.data_hash, recipe.codec, to_json(dataset.target), classes)
    return cache_folder() / "judges" / f"{hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:24]}.safetensors"


def copies_for(run: Run, dataset: Dataset) -> CopySearch:
    """The index of all training grids."""
    path = run.index / "outlines.safetensors"
    if not path.exists():
        data = dataset.parts["train"].data
        parts = [outline(torch.from_numpy(np.array(data[i : i + PART]))) for i in range(0, len(data), PART)]
        outlines = torch.cat(parts)
        held = torch.from_numpy(np.array(dataset.parts["holdout"].data[:HELD]))
        seen = CopySearch(outlines).ratio(held)[0] if len(held) else torch.empty(0)
        limit = min(CLOSE, float(seen.quantile(RARE))) if len(held) >= 1 / RARE else CLOSE
        save_tensors(path, {"outlines": outlines.half(), "limit": torch.tensor(limit)})
    return CopySearch(load_tensors(path)["outlines"].float())


def texts_of(dataset: Dataset, codec: Codec, split: str) -> list[str]:
    """All documents of a split as strings in which copies are searched."""
    rows = (torch.from_numpy(ids.astype(np.int64))[None] for ids in dataset.documents(split))
    return [codec.passages(row, dataset.target)[0] for row in rows]


def write_index(run: Run, dataset: Dataset, codec: Codec) -> None:
    """Leave in ``index/`` what recognises copies: the outlines of all training grids, or the training text.

    Of rows nothing: equal ones are legitimate, and to hold one back would bend the shares.
    """
    if dataset.target.kind == "grid":
        copies_for(run, dataset)
    elif not dataset.target.slots:
        write_bytes(run.index / "train.txt", "\0".join(texts_of(dataset, codec, "train")).encode())


@dataclass(frozen=True)
class Reading:
    """What the dials show: 0…1, where 1 is as good as held-out real items; and the numbers behind them."""

    real: float
    varied: float
    own: float
    distance: float
    recall: float
    copies: float


class Dials:
    """Real = floor / kernel distance, varied = recall over held-out's, its own = 1 − copies beyond held-out's."""

    def __init__(self, features: Features, train: Tensor, real: Tensor, copies: CopySearch | None = None) -> None:
        """As many train items as ``real`` ones give the floor; ``copies`` is the training index (grids)."""
        self.features, self.copies = features, copies
        self.real, same = features(real), features(train[: len(real)])
        self.floor = max(1e-4, interval(same, self.real, Noise("dials"))[2])
        self.recall = max(0.05, float(reached(same, self.real)["recall"].mean()))
        self.base = float((copies.ratio(real)[0] < CLOSE).float().mean()) if copies else 0.0

    def score(self, made: Tensor) -> Score:
        """Kernel distance of made content [N, ...] to the held-out items, with its interval."""
        return Score("kernel distance", *interval(self.features(made), self.real, Noise("dials", "score")))

    def __call__(self, made: Tensor) -> Reading:
        """Read the dials for made content [N, ...] in model form."""
        x = self.features(made)
        n = min(len(x), len(self.real))
        far = distance(x, self.real)
        recall = float(reached(x[:n], self.real[:n])["recall"].mean())
        share = float((self.copies.ratio(made)[0] < CLOSE).float().mean()) if self.copies else 0.0
        real, own = min(1.0, self.floor / max(far, 1e-9)), 1.0 - max(0.0, share - self.base)
        return Reading(real, min(1.0, recall / self.recall), own, far, recall, share)


def dials_for(run: Run, dataset: Dataset, recipe: Recipe) -> Dials:
    """The dials of a run, read against holdout."""
    copies = copies_for(run, dataset) if recipe.target.kind == "grid" else None
    real, train = (sampled(dataset, split, REAL)[0] for split in ("holdout", "train"))
    return Dials(features_for(run, dataset, recipe), train, real, copies)
