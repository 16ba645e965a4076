"""The border: the only way in for data and requests, the only way out for what was made.

Gates are asked in this order, and it is meant: what cannot be decoded cannot be compared; a copy is stopped before it
is dressed; the visible label changes the content, so it comes before the encoder; metadata comes last, because
anything after it could strip it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product, zip_longest
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from mintage.core.protocols import Codec
from mintage.core.spec import Item, Ruling, Sample
from mintage.core.store import content_hash
from mintage.core.words import say
from mintage.trust import broken, copies, duplicate, label, parameters
from mintage.trust.gate import ADMITTED, Gate, Some
from mintage.trust.verify import Finding, verify

__all__ = ["GATES", "Finding", "admit", "release", "screen", "verify"]

GATES: tuple[Gate, ...] = (broken.Gate(), duplicate.Gate(), copies.Gate(), label.Gate(), parameters.Gate())


def admit(items: Sequence[Item], contents: Sequence[Any], fingerprints: np.ndarray) -> list[Ruling]:
    """Data in: one ruling an item. A gate sees what the gates before it admitted.

    Args:
        items: All that was found.
        contents: Their contents, or a BadItem where there is none.
        fingerprints: One row an item. [N, K] uint8
    """
    rulings = [ADMITTED] * len(items)
    alive = np.arange(len(items))
    for gate in GATES:
        refused = gate.admit([items[i] for i in alive.tolist()], Some(contents, alive), fingerprints[alive])
        for position, ruling in refused.items():
            rulings[alive[position]] = ruling
        alive = np.delete(alive, list(refused))
    return rulings


def screen(given: Mapping[str, str]) -> Ruling:
    """Requests in: the first refusal, else admitted."""
    return next((ruling for gate in GATES if not (ruling := gate.screen(given)).admitted), ADMITTED)


@overload
def release(
    samples: Sequence[Sample], level: Literal["view"], run: Mapping[str, Any], index: Path | Sequence[Path] | None = ...,
    out: Path | None = ..., codec: Codec | None = ...,
) -> list[Sample]: ...  # fmt: skip
@overload
def release(
    samples: Sequence[Sample], level: Literal["file"], run: Mapping[str, Any], index: Path | Sequence[Path] | None = ...,
    out: Path | None = ..., codec: Codec | None = ...,
) -> tuple[list[Path], list[str]]: ...  # fmt: skip
def release(
    samples: Sequence[Sample],
    level: Literal["view", "file"],
    run: Mapping[str, Any],
    index: Path | Sequence[Path] | None = None,
    out: Path | None = None,
    codec: Codec | None = None,
) -> list[Sample] | tuple[list[Path], list[str]]:
    """Made things out.

    Args:
        samples: What was made, unlabelled.
        level: ``view`` guards and hands the samples back, for a surface with its own standing label. ``file`` guards,
            labels, writes, and puts the metadata in.
        run: The model's card (``recipe``, ``mintage``), and where known ``name``, ``model_hash``, ``knobs``,
            ``producer``.
        index: The run's ``index/``, which knows the training items; of each member, where several models made them.
        out: Folder for files.
        codec: Writes the files.

    Returns:
        The samples that may be seen; or the paths, in order, and a sentence for each sample that was held back.
    """
    left = list(enumerate(samples))
    refused: list[str] = []
    for gate, known in product(GATES, [index] if index is None or isinstance(index, Path) else index):
        rulings = gate.guard([sample for _, sample in left], known)
        refused += [say("Sample {seed} was held back: {why}.", seed=left[i][1].seed, why=r.reason) for i, r in rulings.items()]
        left = [pair for i, pair in enumerate(left) if i not in rulings]
    kept = [sample for _, sample in left]
    if level == "view":
        return kept
    if out is None or codec is None:
        raise ValueError("Files need a folder and a codec.")
    names, released = [sample.name for sample in kept], list(kept)
    if hasattr(codec, "heard"):  # the sound of a thing leaves under its name, with a sign of its own
        sounds = codec.heard([sample.media for sample in kept])
        released += [replace(s, media=m, content_hash=content_hash(m.content)) for s, m in zip(kept, sounds, strict=False)]
        names += names[: len(sounds)]
    marked = [sample.media for sample in released]
    for gate in GATES:
        marked = [gate.mark(media) for media in marked]
    paths, page = codec.write(marked, out, names) if kept else [], None
    if len(kept) > 1 and hasattr(codec, "sheet"):
        page = shown = codec.sheet([sample.media for sample in kept])
        for gate in GATES:
            shown = gate.mark(shown)
        paths += codec.write([shown], out, ["sheet"])
    single = len(paths) >= len(released)  # a sheet comes last; one table of many rows is nobody's own
    for path, sample in zip_longest(paths, released if single else ()):
        for gate in GATES:
            gate.file(path, sample, {**run, **sample.model} if sample else {**run, "sheet": page})
    return paths, refused
