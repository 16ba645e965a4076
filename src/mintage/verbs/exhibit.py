"""What the report shows beside its numbers: samples, nearest training items, in-betweens, copies, curves.

Made things come through the release gate at the level *view*; one that a gate holds back is simply not shown. Training
items are the person's own and stay on the person's machine with the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from mintage.core.config import from_json
from mintage.core.protocols import Codec, Latent, Looks, Plays
from mintage.core.spec import Cond, Media
from mintage.core.store import read_jsonl
from mintage.core.words import say
from mintage.nn.given import Given
from mintage.nn.noise import Noise
from mintage.nn.rows import is_table
from mintage.verbs.averages import Choice
from mintage.verbs.cards import alarms
from mintage.verbs.dataset import as_model
from mintage.verbs.evidence import Bench
from mintage.verbs.generate import as_samples, draw, read_out, send_out, steady
from mintage.verbs.sheet import SHOWN as ROWS_SHOWN
from mintage.verbs.sheet import Sheet, sheet_of

SHOWN, TEXTS = 32, 8  # samples on the page
PAIRS, COPIES = 8, 12
ROWS, STEPS, STOPS = 4, 9, 5  # in-betweens; of texts, which take longer to look at, fewer
LENGTH = 400  # tokens of a text shown, where the texts are as long
POINTS = 160  # of a curve


@dataclass(frozen=True)
class Thing:
    """One thing on the page: how it looks (an array), a text, or nothing where it was held back; and a few words under it."""

    content: Any
    words: str = ""
    mark: tuple[int, int] = (0, 0)  # texts: where the longest passage of the training text begins, and its length
    player: tuple[str, bytes] | None = None  # what can be played: its type and its bytes


def thing_of(codec: Codec, media: Media, words: str = "", playing: bool = True) -> Thing:
    """A made or real thing as it is shown: how it looks, with a player where it can be played; else its text."""
    player = codec.play(media) if playing and isinstance(codec, Plays) else None
    return Thing(codec.look(media) if isinstance(codec, Looks) else read_out(codec, media), words, player=player)


@dataclass(frozen=True)
class Exhibit:
    """Everything the page shows that is not a number of the report."""

    name: str
    facts: Sequence[tuple[str, str]]
    samples: Sequence[Thing]
    sketches: Sequence[Thing]
    pairs: Sequence[tuple[Thing, Thing]] = ()
    copies: Sequence[tuple[Thing, Thing]] = ()
    between: Sequence[Sequence[Thing]] = ()
    losses: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    sheet: Sheet | None = None


class Curator:
    """Chooses what of a bench is shown."""

    def __init__(self, bench: Bench, copies: Sequence[int]) -> None:
        """``copies`` are positions of made items that were judged to be copies."""
        self.bench, self.copied = bench, copies
        self.loaded, self.recipe = bench.loaded, bench.recipe

    def exhibit(self) -> Exhibit:
        """Everything."""
        made, asked, _ = self.bench.drawn
        tokens, seen = self.recipe.target.kind == "tokens", isinstance(self.loaded.codec, Looks)
        n = SHOWN if seen else TEXTS
        first = made[:n]
        if tokens:
            given = {name: values[: len(first)] for name, values in asked.items()}
            first = draw(self.bench.loaded, len(first), self.bench.seed, given, knobs={"length": LENGTH})
        shown = self.view(first, self.words(asked, n))
        sketches = self.view(self.bench.sketch.made[: n // 4], [""] * n)
        if is_table(self.recipe.target):
            sheet = sheet_of(self.bench.made, self.rows_of(made[:ROWS_SHOWN]), self.rows_of(self.bench.sketch.made[:ROWS_SHOWN]))
            return Exhibit(self.loaded.run.path.name, self.facts(), (), (), losses=losses(self.loaded.run.events), sheet=sheet)
        plain = Exhibit(self.loaded.run.path.name, self.facts(), shown, sketches, losses=losses(self.loaded.run.events))
        if not tokens:
            pairs, copies = self.beside(made, list(range(PAIRS))), self.beside(made, self.copied[:COPIES])
            return replace(plain, pairs=pairs, copies=copies, between=self.between(asked))
        if seen or self.bench.rows:
            return replace(plain, between=self.between_codes(made))
        return replace(plain, samples=self.marked(shown), copies=self.text_copies(made), between=self.between_codes(made))

    def rows_of(self, x: Tensor) -> list[Media]:
        """Rows of a table that may be seen."""
        seeds = list(range(len(x)))
        return [sample.media for sample in send_out(self.loaded, as_samples(self.loaded, x, seeds, [{}] * len(x)), "view")[0]]

    def view(self, x: Tensor, words: Sequence[str], playing: bool = True) -> list[Thing]:
        """Made content through the gate, with words under it."""
        seeds = list(range(len(x)))
        released, _ = send_out(self.loaded, as_samples(self.loaded, x, seeds, [{}] * len(x)), "view")
        return [thing_of(self.loaded.codec, sample.media, words[sample.seed], playing) for sample in released]

    def row(self, x: Tensor, words: Sequence[str]) -> list[Thing]:
        """The same in place, an empty frame where a gate held one back."""
        shown = [self.view(x[i : i + 1], words[i : i + 1]) for i in range(len(x))]
        back = [Thing(None, say("held back: nearly a copy; {words}", words=own)) for own in words]
        return [thing[0] if thing else empty for thing, empty in zip(shown, back, strict=True)]

    def words(self, asked: Cond, n: int) -> list[str]:
        """What each of the first n was asked for."""
        if "caption" in asked and isinstance(given := getattr(self.loaded.codec, "given", None), Given):
            return given.spelled(asked["caption"][:n]) + [""] * n
        if "class" not in asked:
            return [""] * n
        names = (*self.recipe.cond["class"].channels, "")
        return [names[min(label, len(names) - 1)] for label in asked["class"][:n].tolist()] + [""] * n

    def real(self, row: int) -> Thing:
        """One training item."""
        stored = torch.as_tensor(self.bench.dataset.parts["train"].data[row].copy())[None]
        media = self.loaded.codec.decode(as_model(stored, self.recipe.target), self.recipe.target)
        return thing_of(self.loaded.codec, media[0], say("training item"))

    def beside(self, made: Tensor, positions: Sequence[int]) -> list[tuple[Thing, Thing]]:
        """Made items beside their nearest training items."""
        positions = [i for i in positions if i < len(made)]
        if not positions:
            return []
        x = made[list(positions)]
        ratio, place = self.bench.made.extra["copies"].ratio(x)
        words = [say("made; nearest / second nearest {ratio}", ratio=f"{r:.2f}") for r in ratio.tolist()]
        return [(thing, self.real(row)) for thing, row in zip(self.row(x, words), place.tolist(), strict=True)]

    def marked(self, things: Sequence[Thing]) -> list[Thing]:
        """Texts with their longest passage of the training text."""
        found = self.bench.made.extra["copies"].longest([str(t.content) for t in things])
        return [Thing(t.content, t.words, mark) for t, mark in zip(things, found, strict=True)]

    def text_copies(self, made: Tensor) -> list[tuple[Thing, Thing]]:
        """Copied texts with the passage that they copied."""
        rows = list(self.copied[:COPIES])
        things = self.marked(self.view(made[rows], [""] * len(rows))) if rows else []
        return [(t, Thing(str(t.content)[t.mark[0] : sum(t.mark)], say("in the training text"))) for t in things]

    def between(self, asked: Cond) -> list[list[Thing]]:
        """From one sample to another along the noise, each row asked the same."""
        first = Noise.rows_of([self.bench.seed + k for k in range(ROWS)])
        last = Noise.rows_of([self.bench.seed + ROWS + k for k in range(ROWS)])
        cond = {name: values[:ROWS] for name, values in asked.items()}
        if any(len(values) < ROWS for values in cond.values()):
            return []
        frames = []
        with steady(self.recipe.threads):
            given = self.loaded.task.ask(cond, {})
            for step in range(STEPS):
                noise = first.toward(last, step / (STEPS - 1))
                *_, x = self.loaded.model.sample(given, noise, {})
                frames.append(self.view(self.loaded.task.compose(x, given), [""] * ROWS, playing=False))
        whole = all(len(frame) == ROWS for frame in frames)
        return [[frame[row] for frame in frames] for row in range(ROWS)] if whole else []

    def between_codes(self, made: Tensor) -> list[list[Thing]]:
        """From one thing to another along the line between their codes; nothing where the family has no codes."""
        model = self.loaded.model
        if not isinstance(model, Latent) or model.latent.kind != "grid" or len(made) < 2 * ROWS:
            return []
        with steady(self.recipe.threads), torch.inference_mode():
            code = model.encode(made[: 2 * ROWS])
            stops = [t / (STOPS - 1) for t in range(STOPS)]
            frames = [self.row(model.decode((1 - t) * code[:ROWS] + t * code[ROWS:]), [""] * ROWS) for t in stops]
        return [[frame[row] for frame in frames] for row in range(ROWS)]

    def facts(self) -> list[tuple[str, str]]:
        """How the model was made, for the last table."""
        recipe, card = self.recipe, self.loaded.card
        shape = " × ".join(str(length) for length in recipe.target.shape)
        return [
            (say("data"), recipe.data),
            (say("medium"), recipe.modality),
            (say("family"), recipe.title),
            (say("task"), recipe.task),
            (say("size of an item"), shape),
            (say("steps"), f"{int(card.get('steps', recipe.steps)):,} × {recipe.batch}"),
            (say("minutes"), f"{float(card.get('minutes', recipe.minutes)):.2f}"),
            (say("arithmetic"), f"{recipe.dtype}, {recipe.device}, {recipe.threads} " + say("threads")),
            (say("seed"), str(recipe.seed)),
            (say("hash of the data"), recipe.data_hash[:16]),
            *history(card),
        ]


def history(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What else went into a model: where it started from, alarms, averaging."""
    parent, average = card["recipe"].get("parent", ""), card.get("average")
    found = [(say("started from"), parent)] if parent else []
    found += [(say("alarm"), sentence) for sentence in alarms(card)]
    return found + ([(say("averaging"), str(from_json(Choice, average)))] if average else [])


def losses(events: Any) -> dict[str, list[tuple[float, float]]]:
    """Loss by step from a run's events, thinned to medians of equal spans."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in read_jsonl(events):
        if row.get("kind") != "step":
            continue
        values = {name: loss for name, loss in (row.get("losses") or {}).items() if not name.endswith(".grad")}
        if "holdout" in row:
            values["holdout"] = row["holdout"]
        for name, value in values.items():
            found.setdefault(name, []).append((float(row["step"]), float(value)))
    return {name: thinned(sorted(points)) for name, points in found.items() if len(points) > 1}


def thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most ``POINTS`` points, each the middle one by value of its span."""
    span = -(-len(points) // POINTS)
    parts = [points[i : i + span] for i in range(0, len(points), span)]
    return [(part[len(part) // 2][0], sorted(v for _, v in part)[len(part) // 2]) for part in parts]
