"""What a person sees while a model learns: the same sixteen seeds every time, three dials, and a score on holdout.

Previews leave through the release gate at the level *view*. They follow the wall clock at a bounded share of the time
and draw from their own seeds, so they change nothing in the training; scores that choose a checkpoint are taken at
fixed steps by the caller.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mintage.core.protocols import Looks, Scores
from mintage.core.spec import Recipe, Score
from mintage.core.store import Run, write_bytes
from mintage.core.words import say
from mintage.nn.pictures import contact_sheet
from mintage.verbs.dataset import Dataset
from mintage.verbs.generate import as_samples, draw, read_out, send_out
from mintage.verbs.judging import Dials, dials_for, write_index
from mintage.verbs.load import Loaded, build_codec, build_task, chunk_of

SEEDS, FEW = 16, 3  # on a page; of texts and tunes, which take longer to make
LENGTH = 300  # tokens of those
FEWEST = 30  # held-out items that dials need
JUDGED, LEAST = 192, 48  # samples behind the dials: so many, or as few where they are slow to make
SHARE = 0.04  # of the time, as far as that leaves the least samples and a preview every eighth of the training
MEASURED = 512  # samples behind a kernel distance that chooses
ROWS = 512  # holdout rows behind a score
WINDOWS = 48  # holdout windows behind a score


class Previewer:
    """Shows one run to its person."""

    def __init__(self, run: Run, recipe: Recipe, dataset: Dataset, tell: Callable[..., None]) -> None:
        """``tell(kind, text, **data)`` emits an event."""
        self.run, self.recipe, self.dataset, self.tell = run, recipe, dataset, tell
        self.codec, self.task = build_codec(recipe, run.path), build_task(recipe)
        self._next, self._budget, self._judged = 0.0, 0.0, 0
        self._dials: Dials | None = None

    def due(self, elapsed: float, budget: float) -> bool:
        """Is it time for another one?"""
        self._budget = budget
        if not self._next:
            self._next = min(5.0, budget / 4)
        return elapsed >= self._next

    def _loaded(self, model: Any) -> Loaded:
        return Loaded(
            self.run,
            self.run.live,
            {"recipe": {}},
            self.recipe,
            self.codec,
            self.task,
            model,
            chunk_of(model, self.recipe),
        )

    def show_sketch(self, sketch: Any) -> None:
        """Sixteen inventions of the baseline, named as such."""
        path = self._page(self._loaded(sketch), "sketch")
        self.tell(
            "preview",
            say("The sketch, a baseline fitted in seconds; the model must beat it: {path}", path=path),
            path=str(path),
            sketch=True,
        )

    def prepare(self) -> None:
        """Set up the dials, before the clock runs: their judge takes seconds to learn, and the report uses it again."""
        if self.recipe.target.kind == "grid" and len(self.dataset.parts["holdout"]) >= FEWEST:
            self._dials = dials_for(self.run, self.dataset, self.recipe)

    def show(self, model: Any, sketch: Any, step: int, elapsed: float) -> None:
        """A page of samples and the dials."""
        begin = time.perf_counter()
        loaded = self._loaded(model)
        path = self._page(loaded, f"step_{step:06d}")
        data: dict[str, Any] = {"path": str(path), "step": step}
        if self._dials is not None:
            self._judged = self._judged or self._affordable(time.perf_counter() - begin, loaded.chunk)
            reading = self._dials(draw(loaded, self._judged, seed=1_000_000))
            data |= {"real": round(reading.real, 3), "varied": round(reading.varied, 3), "own": round(reading.own, 3)}
        self.tell("preview", "", **data)
        cost = time.perf_counter() - begin
        self._next = elapsed + cost + min(max(8.0, cost / SHARE), max(8.0, self._budget / 8))

    def _affordable(self, seconds: float, chunk: int) -> int:
        """How many samples the dials judge where a page took these seconds; chosen once, so that a run's dials compare."""
        calls = SHARE * max(8.0, self._budget / 8) * -(-SEEDS // chunk) / seconds  # of the sampler, which always fills its chunk
        return min(JUDGED, max(LEAST, int(calls) * chunk))

    def _page(self, loaded: Loaded, name: str) -> Path:
        tokens, seen = self.recipe.target.kind == "tokens", isinstance(self.codec, Looks)
        x = draw(loaded, SEEDS if seen and not tokens else FEW, knobs={"length": LENGTH} if tokens else {})
        seeds = list(range(len(x)))
        samples, _ = send_out(loaded, as_samples(loaded, x, seeds, [{}] * len(x)), "view")
        if not isinstance(self.codec, Looks):
            path = self.run.samples / f"{name}.txt"
            write_bytes(path, "\n\n―――\n\n".join(read_out(self.codec, s.media) for s in samples).encode())
            return path
        path = self.run.samples / f"{name}.png"
        if samples:
            page = io.BytesIO()
            Image.fromarray(contact_sheet([self.codec.look(s.media) for s in samples])).save(page, "PNG")
            write_bytes(path, page.getvalue())
        return path

    @property
    def windows(self) -> tuple[int, int]:
        """How many fixed examples of holdout are scored, and how many at once: rows are short, so there can be many."""
        return (ROWS, ROWS // 2) if self.recipe.target.slots else (WINDOWS, 16)

    def measured(self, model: Any) -> Tensor | Score | None:
        """A model on holdout: nats per token of each window [W], else its kernel distance; None where neither can be had."""
        if isinstance(model, Scores) and len(self.dataset.parts["holdout"]):
            with torch.inference_mode():
                rows = [-model.log_prob(batch) / (batch.length - 1).clamp(min=1) for batch in self.dataset.held(*self.windows)]
            return torch.cat(rows)
        if self._dials is None:
            self.prepare()
        if self._dials is None:
            return None
        return self._dials.score(draw(self._loaded(model), MEASURED, seed=2_000_000))

    def holdout_score(self, model: Any) -> float:
        """Mean nats a token over fixed windows of holdout (of train where there is no holdout)."""
        total, tokens = 0.0, 0
        with torch.inference_mode():
            for batch in self.dataset.held(*self.windows):
                total -= float(model.log_prob(batch).sum())
                tokens += int((batch.length - 1).clamp(min=1).sum())
        return total / tokens

    def keep_index(self) -> None:
        """Leave what the output guard needs to recognise copies; it never leaves with an export."""
        write_index(self.run, self.dataset, self.codec)
