"""The five interfaces of the house, and the optional abilities found by ``isinstance``.

A plug-in is one file that defines the class named here (``Codec``, ``Task``, ``Model`` with ``Config``, ``Metric``,
``Gate``) in its axis's folder; ``core.registry`` finds it by file name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from mintage.core.spec import Alarm, Batch, Cond, Evidence, Item, Media, Phase, Ruling, Sample, Score, Spec, Specs

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class Codec(Protocol):
    """A modality: files ↔ tensors. Its constructor takes no argument; ``state`` is what ``fit`` learned.

    Its class may name ``family`` (its default; flow if it does not), ``pipeline`` (the hub's word for it), ``unit`` (of its
    sizes, a property), ``options`` (keys of ``-o`` that ``configure(options)`` takes), those that say how what is made
    becomes files (``outputs``, asked with it), flags that it hears of too (``flags``: ``size``), and say that files come with
    captions beside them (``captioned``), that their names begin with their class where that repeats (``named``), that pieces
    of one file belong to one split (``grouped``; they overlap where ``at`` differs by less than its ``window``), that a few
    long contents are split in order (``ordered``), or that ids are coarser than what they stand for, so that ``decode`` also
    takes ``noise``, a row for each thing (``rough``). Further abilities that the verbs look for:

    - ``claims(path) -> bool``, static: which files it takes, where others read the same suffix.
    - ``gather(paths) -> list[Path]``, static: where it is named by hand, folders in place of the files that are one item.
    - ``adopt(rows, bound)``: contents from an array file.
    - ``sized(view, shapes, minutes, size) -> Spec``: lengths of the free axes; ``shapes`` counts those of the contents.
    - ``guesses(contents)``: rows for the table of guesses: name, value, why, how to say otherwise.
    - ``begun(prompt, fills) -> Tensor``: what a prompt stands for, where it is no text: ids [1, P], MASK a blank for a model that
      ``fills``.
    - ``cut(content, spec) -> list``: the pieces of a content that are examples of a grid, where that is not one.
    - ``misfits(prompt) -> tuple``: ids that no blank of a prompt may be filled with.
    - ``certain``: that ``augment`` leaves an item as good as real, so that no classifier needs to be asked.
    - ``length``: most tokens of a made thing, where it is longer than what a model is trained on.
    - ``heard(media) -> list[Media]``: the first things as sounds, written beside them to listen to at once.
    - ``known(given, spec)``: parts of a thing that a person names, or reads from a file (a value without a name):
      conditions ``known`` and ``mask``, a row each, and more (``nn.filled``); and ``kept(media, words)``: things with those
      parts put back as they were.
    - ``words(media) -> str``: how a thing reads on a page, where that is not its content.
    - ``sheet(media) -> Media``: a page of many, written beside them.
    """

    @property
    def suffixes(self) -> tuple[str, ...]:
        """File endings it reads, lower case with the dot."""

    @property
    def mime(self) -> str:
        """Type of what it makes; picks the player."""

    def items(self, path: Path) -> Iterable[Item]:
        """The items in one file; raises BadItem when the file cannot be listed."""

    def read(self, item: Item) -> Any:
        """Fully decode one item to its canonical content; raises BadItem with the reason."""

    def fit(self, contents: Sequence[Any], given: Sequence[Mapping[str, str]]) -> None:
        """Learn vocabulary or statistics from the train split only; kept in the model's card."""

    @property
    def state(self) -> dict[str, Any]:
        """What ``fit`` learned, as JSON."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what ``state`` gave."""

    def views(self) -> Specs:
        """The views of an item: ``grid`` and/or ``tokens``."""

    def conditions(self) -> Specs:
        """What came with the items and can be asked for: ``class`` (names in ``channels``) and ``caption``."""

    def encode_caption(self, texts: Sequence[str], spec: Spec) -> Tensor:
        """Captions → ids, all PAD where there is none. [B, L] int64"""

    def encode(self, contents: Sequence[Any], spec: Spec) -> Tensor:
        """Contents → storage form at the wanted size: uint8 grids [B, C, H, W] or ids [B, T] padded with PAD."""

    def decode(self, x: Tensor, spec: Spec) -> list[Media]:
        """Model form (floats in −1…1, or ids) → things in memory."""

    def passages(self, x: Tensor, spec: Spec) -> list[str]:
        """Tokens [B, T] as strings in which verbatim copying is searched, with the medium's own invariances."""

    def write(self, media: Sequence[Media], out: Path, names: Sequence[str]) -> list[Path]:
        """Write each thing under its name in ``out``; returns the paths, fewer where one file holds many things."""

    def augment(self, x: Tensor, spec: Spec, noise: Any) -> Tensor:
        """A batch [B, ...] that is as good as real; used only if a classifier cannot tell it from the real."""

    def fingerprint(self, contents: Sequence[Any]) -> np.ndarray:
        """One row of bytes per content for near-duplicate search, with the medium's own invariances."""

    def select(self, what: str, spec: Spec) -> Tensor:
        """A person's words for a part (rectangle, bars, words) → mask of ``spec.shape`` without the channel axis."""


@runtime_checkable
class Looks(Protocol):
    """A codec whose things can be seen."""

    def look(self, media: Media) -> np.ndarray:
        """How it looks on a page: itself, its spectrogram, its piano roll, some of its frames. uint8 [H, W] or [H, W, 3]"""


@runtime_checkable
class Plays(Protocol):
    """A codec whose things can be played."""

    def play(self, media: Media) -> tuple[str, bytes]:
        """What a browser plays: type and bytes (audio/wav, video/mp4, image/webp …)."""


@runtime_checkable
class Learns(Protocol):
    """A codec with a part that is trained on the contents, such as a better way back; ``share`` of the minutes is for it."""

    share: float

    def paced(self, train: Sequence[Any], seconds: float) -> int:
        """Steps of ``learn`` that fill the time here."""

    def learn(self, train: Sequence[Any], held: Sequence[Any], steps: int, noise: Any) -> tuple[dict[str, Tensor], str]:
        """Its tensors (none where they bring nothing), and a sentence that says what they brought."""

    def equip(self, tensors: Mapping[str, Tensor]) -> None:
        """Put in what was learned."""


class Task(Protocol):
    """A corruption and its undoing."""

    @staticmethod
    def refuse(target: Spec, given: Specs) -> str | None:
        """Why this task cannot work on this target, or None."""

    def __init__(self, target: Spec, given: Specs) -> None: ...

    @property
    def cond(self) -> Specs:
        """The conditions that the model will see."""

    def corrupt(self, x: Tensor, given: Cond, noise: Any) -> Cond:
        """Training: the condition made from the example itself."""

    def ask(self, given: Cond, knobs: Mapping[str, Any]) -> Cond:
        """Generation: the condition made from the person's input."""

    def compose(self, x: Tensor, cond: Cond) -> Tensor:
        """Put back exactly what was known."""

    def naive(self, cond: Cond) -> Tensor | None:
        """The simplest answer to this task, if there is one."""


class Model(Protocol):
    """A family: p(x | cond). A torch Module beside this protocol.

    It may name in ``scaffold`` the submodules that only training needs (they stay in checkpoints, not in the model), in
    ``chunk`` how many rows its sampler always runs with, in ``halves`` that it samples in the recipe's ``dtype``, and its file
    may define ``Knobs``, the sampler's settings. ``whole`` true says that its examples are whole texts: where they are short, a
    step does not take more of them. ``prefers`` names the kind of view it takes where a medium has both ("grid", "tokens").
    """

    @staticmethod
    def refuse(target: Spec, cond: Specs) -> str | None:
        """Why this family cannot model this target, or None."""

    def __init__(self, target: Spec, cond: Specs, config: Any) -> None: ...

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Kinds of update; () means closed form: only ``settle``."""

    def loss(self, batch: Batch, phase: Phase, progress: float, noise: Any) -> dict[str, Tensor]:
        """Named losses, each [B]; the trainer weights, averages and sums them. ``progress`` is 0…1 in the phase."""

    def settle(self, batches: Iterable[Batch]) -> None:
        """Closed-form work on the train split, once, before the first step: PCA, counts."""

    def sample(self, cond: Cond, noise: Any, knobs: Mapping[str, Any]) -> Iterator[Tensor]:
        """``noise.rows`` samples; each yield is a preview, the last is final."""


class Metric(Protocol):
    """A way to judge. ``question`` is real, varied, its own, obeys or costs."""

    question: str

    @staticmethod
    def refuse(target: Spec, n: int) -> str | None:
        """Why this number would mean nothing here, or None."""

    def __call__(self, evidence: Evidence) -> list[Score]:
        """The scores, each with an interval."""


class Gate(Protocol):
    """A rule at the border. Each method may do nothing; order is given in ``trust/__init__.py``."""

    def admit(self, items: Sequence[Item], contents: Sequence[Any], fingerprints: np.ndarray) -> Mapping[int, Ruling]:
        """Data in, all items at once: position → ruling, for those that are refused."""

    def screen(self, given: Mapping[str, str]) -> Ruling:
        """Requests in."""

    def content(self, sample: Sample, run: Mapping[str, Any]) -> Sample | Ruling:
        """Before the encoder: the thing as it is, changed, or refused."""

    def mark(self, sample: Sample, run: Mapping[str, Any]) -> Sample:
        """The visible or audible sign; only what becomes a file is marked."""

    def file(self, path: Path, sample: Sample, run: Mapping[str, Any]) -> None:
        """After the encoder: metadata in the file or beside it."""


@runtime_checkable
class Fits(Protocol):
    """A family that chooses its own sizes for the data, the minutes and the machine (the plan asks once)."""

    @staticmethod
    def fit(target: Spec, cond: Specs, n: int, minutes: float, speed: float) -> tuple[Any, dict[str, Any]]:
        """Sizes for this job.

        Args:
            target: The target; free axes of tokens (length 0) are chosen here, under the key ``length``.
            cond: The conditions.
            n: Training items (grids) or training tokens (tokens).
            minutes: Training budget.
            speed: Measured matrix speed at the training dtype, GFLOP/s.

        Returns:
            The family's ``Config``, and overrides of ``verbs.plan.Training`` fields by name: batch, lr, weight_decay,
            ema (half-life as a share of the steps), warmup and decay (shares), clip, length (tokens a window).
        """


@runtime_checkable
class Enters(Protocol):
    """A family whose phase starts from the averaged weights (a teacher, a frozen critic)."""

    def enter(self, phase: Phase, ema: Mapping[str, Tensor]) -> None:
        """Called once when a phase begins, before its first step."""


@runtime_checkable
class Inherits(Protocol):
    """A family whose weights mean something only together with what was found in closed form, such as its words."""

    def inherit(self, base: Mapping[str, Tensor]) -> None:
        """Called once, after the weights of a base were taken over and before ``settle``, with all its tensors by name."""


@runtime_checkable
class Watches(Protocol):
    """A family that notices early when a training goes wrong in a way that has a cure."""

    def watch(self, batch: Batch, progress: float, noise: Any) -> Alarm | None:
        """Look at the live weights and a training batch; called at fixed steps, never by the clock (``session.WATCH``)."""


@runtime_checkable
class Calibrates(Protocol):
    """A family with a last closed-form choice, made with the averaged weights: a density on codes, a share in a mixture."""

    def calibrate(self, train: Iterable[Batch], held: Iterable[Batch]) -> None:
        """Called once, when training is over; ``train`` is one pass over the train split, ``held`` examples of holdout.

        A family that has a number in ``looks`` is shown about so many of the train split, spread over it.
        """


@runtime_checkable
class Scores(Protocol):
    """A family with a likelihood."""

    def log_prob(self, batch: Batch) -> Tensor:
        """Log probability in nats of each example. [B]"""


@runtime_checkable
class Latent(Protocol):
    """A family with a code for each example: a compressor, and what a second stage may model in place of the data.

    Its class may name in ``codes``, by the kind of ``latent`` ("grid", "tokens"), the settings under which its codes are
    good to model, as ``-o`` takes them: then it can be the first of two stages.
    """

    @property
    def latent(self) -> Spec:
        """The form of a code: a grid of floats of about unit scale, or tokens when it is quantised."""

    def encode(self, x: Tensor) -> Tensor:
        """Examples [B, ...] → codes in the form of ``latent``."""

    def decode(self, z: Tensor) -> Tensor:
        """Codes → examples in the target's form."""


@runtime_checkable
class Explains(Protocol):
    """A family that can show what it looked at."""

    def explain(self, x: Tensor, cond: Cond) -> Mapping[str, Tensor]:
        """Named maps over the example."""
