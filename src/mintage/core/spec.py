"""The nouns of the house, as frozen dataclasses: what an example, a batch, a request and a judgement are.

Tensors are only named here (torch is imported for type checking alone), so that ``mintage --help`` stays instant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

PAD, BOS, EOS, SEP, MASK = range(5)  # token ids with a fixed meaning in every vocabulary
RESERVED = 5  # the first id that a codec may use for content

COND_NAMES = ("class", "caption", "source", "known", "mask", "prompt")


@dataclass(frozen=True)
class Spec:
    """The form of one example, with named axes so that tasks need not know the modality.

    Attributes:
        kind: ``grid`` (floats in −1…1) or ``tokens`` (integer ids).
        shape: Length of each axis; 0 means free, the plan fills it.
        axes: Names in the order of ``shape``: channel height width time pitch mel column token.
        channels: Names along the channel axis, such as ``("r", "g", "b")``; ``("utf-8",)`` for ids that begin with the bytes. Of a
            row (one axis), the column of each number: those of one name side by side are hidden and given together. Of a class
            condition the classes; of a caption, examples from the data.
        vocab: Number of ids (tokens), or number of classes (a ``class`` condition).
        rate: Samples, frames or steps a second where time is an axis.
        slots: The id range allowed at each position (tables); of a class condition, the classes to draw from when none is asked
            for; empty means any.
    """

    kind: Literal["grid", "tokens"]
    shape: tuple[int, ...] = ()
    axes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    vocab: int = 0
    rate: float = 0.0
    slots: tuple[tuple[int, int], ...] = ()

    def at(self, **sizes: int) -> Spec:
        """The same spec with the named axes at the given lengths."""
        shape = tuple(sizes.get(axis, length) for axis, length in zip(self.axes, self.shape, strict=True))
        return replace(self, shape=shape)

    def size(self, axis: str) -> int:
        """Length of a named axis (0 when free or absent)."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 0


Specs = Mapping[str, Spec]
Cond = Mapping[str, "Tensor"]


@dataclass(frozen=True)
class Item:
    """One example in a person's data, not yet decoded.

    Attributes:
        id: Hash of the content, equal for equal content wherever the file lies.
        path: The file it came from.
        at: Position inside that file when it holds many (array index, line number), else 0.
        given: What came with it: ``class``, ``caption`` … as text.
        split: ``train``, ``holdout`` or ``test`` when the data says so; empty means Mintage decides.
        weight: How much it counts in training; 1 unless votes or class balance say otherwise.
    """

    id: str
    path: Path
    at: int = 0
    given: Mapping[str, str] = field(default_factory=dict)
    split: str = ""
    weight: float = 1.0


@dataclass(frozen=True)
class Ruling:
    """What a gate decided, and why. ``kind`` groups rulings for the one summary line."""

    admitted: bool
    kind: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Media:
    """One decoded thing in memory: an image array, a text, …; ``mime`` picks the player."""

    content: Any
    mime: str
    suffix: str


@dataclass(frozen=True)
class Batch:
    """What a family is trained on; the first axis of everything is the batch. ``cond`` holds COND_NAMES only."""

    x: Tensor  # [B, C, H, W] float in −1…1, or [B, T] int64
    cond: Cond
    weight: Tensor  # [B]
    length: Tensor  # [B] tokens in use; the full length for grids
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Phase:
    """One kind of update. ``trains`` names submodules ("" = all); ``start``/``stop`` are shares of the training.

    ``betas`` are AdamW's memories of the gradient and of its square; a game between networks wants none of the first.
    """

    name: str
    trains: tuple[str, ...] = ("",)
    every: int = 1
    start: float = 0.0
    stop: float = 1.0
    optim: str = "muon"
    lr: float = 1.0
    betas: tuple[float, float] = (0.9, 0.95)


@dataclass(frozen=True)
class Alarm:
    """A training that is going wrong in a known way, and its cure.

    Attributes:
        reason: What was seen, one sentence.
        change: Settings of the family or of the training to start again with, as ``-o`` takes them.
    """

    reason: str
    change: Mapping[str, str]


@dataclass(frozen=True)
class Sample:
    """One made thing on its way out, with what is needed to say how it was made.

    Attributes:
        media: The thing.
        seed: Its own seed.
        content_hash: Hash of the decoded content, without labels.
        given: What was asked for, as words.
        model: What replaces parts of the run's card on its label, where a member of a mixture made it.
        grid: The thing as the model made it, where copies are searched among grids and the thing is not one itself.
        passage: The thing as a string, where copies are searched among strings and the thing is not one itself.
    """

    media: Media
    seed: int
    content_hash: str
    given: Mapping[str, str] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    grid: Tensor | None = None  # [C, ...]
    passage: str = ""

    @property
    def name(self) -> str:
        """Name of its file: two requests with one seed (another class, other settings) never overwrite each other."""
        return f"seed{self.seed:04d}-{self.content_hash[:8]}"


@dataclass(frozen=True)
class Recipe:
    """Everything that fixes a training, frozen in ``recipe.json`` before step 0.

    Attributes:
        data: The DATA argument, as given.
        data_hash: Hash over the ids and splits of all admitted items.
        modality: Name of the codec.
        family: Name of the family.
        task: Name of the task.
        seed: Seed of all randomness.
        minutes: Training budget in minutes of wall clock.
        steps: Optimiser steps planned (the journal may re-solve it).
        knots: (step, progress) pairs of the training's clock; pieces between them run at one pace.
        batch: Examples a step.
        threads: CPU threads of tensor arithmetic.
        dtype: ``float32`` or ``bfloat16`` (autocast over fp32 masters).
        device: ``cpu`` or ``cuda``.
        target: The spec that the family models.
        cond: The specs of its conditions.
        config: The family's own configuration, complete.
        training: Learning rate, schedule, averaging, clipping, repair share.
        codec: State of the fitted codec.
        options: What the person fixed by hand (``-o``, ``--size``), as text; part of what makes a run the same run.
        parent: Model it started from, if any.
        first: The training of the autoencoder whose codes this one models, in a run of two stages.
    """

    data: str
    data_hash: str
    modality: str
    family: str
    task: str
    seed: int
    minutes: float
    steps: int
    batch: int
    threads: int
    dtype: str
    device: str
    target: Spec
    cond: Mapping[str, Spec]
    config: Mapping[str, Any]
    training: Mapping[str, Any]
    codec: Mapping[str, Any]
    knots: tuple[tuple[float, ...], ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    parent: str = ""
    first: Recipe | None = None

    @property
    def title(self) -> str:
        """The family, or those of both stages: ``vae+flow``."""
        return f"{self.first.title}+{self.family}" if self.first else self.family


@dataclass(frozen=True)
class Score:
    """One number of the report with its 95 % interval.

    Attributes:
        name: Standard term of the field, for instance ``kernel distance``.
        value: The number.
        low: Lower end of the interval.
        high: Upper end of the interval.
        better: ``lower``, ``higher``, or ``none`` when the number only informs.
        worst_ids: Positions (in ``made``) of the items that pull it down.
        note: What the reader must know to read it (n, the test used).
    """

    name: str
    value: float
    low: float
    high: float
    better: Literal["lower", "higher", "none"] = "lower"
    worst_ids: tuple[int, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Evidence:
    """What a metric may look at. Arrays are content in the target's own form, unlabelled and in memory.

    Attributes:
        target: Spec of ``made``, ``train``, ``holdout`` and ``test``.
        made: What is judged. [N, ...]
        asked: The condition each made item was asked for (same length as ``made``).
        train: Training items. [M, ...]
        holdout: Items kept for choosing. [H, ...]
        test: Items that only judge. [T, ...]
        labels: Class of each real item: ``train``, ``holdout``, ``test`` → [.] int64; empty without classes.
        features: Maps content [N, ...] → float32 features [N, D] (second view under ``view=2``).
        model: The trained model where a metric needs likelihoods, else None.
        noise: Randomness of the judgement.
        extra: Small things a modality adds (for text: token counts, decoded strings).
    """

    target: Spec
    made: Any
    asked: Cond
    train: Any
    holdout: Any
    test: Any
    labels: Mapping[str, Any]
    features: Any
    model: Any
    noise: Any
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """Gold, bubble or unproven, with the reason and the next step, each one sentence."""

    word: Literal["gold", "bubble", "unproven"]
    reason: str
    next_step: str
