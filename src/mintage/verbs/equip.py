"""equip: before the first step, what a codec learns from the contents themselves, once a run, within its share of the minutes.

How many steps it takes is measured, and journalled before it acts, so that a run killed meanwhile learns the same again.
"""

from __future__ import annotations

from pathlib import Path

from mintage.core.events import Event, On
from mintage.core.protocols import Learns
from mintage.core.spec import Recipe
from mintage.core.store import Run, append_json, read_jsonl, save_tensors
from mintage.nn.noise import Noise
from mintage.verbs.inspect import Inspection
from mintage.verbs.interrupt import locked
from mintage.verbs.load import LEARNED, build_codec


def kept_for(codec: object) -> float:
    """Share of the minutes that a codec's own learning takes."""
    return codec.share if isinstance(codec, Learns) else 0.0


def equip(run: Run, recipe: Recipe, inspection: Inspection, on: On) -> None:
    """Leave what the codec learned in the run's folder; it goes into every model folder of the run."""
    codec, path = build_codec(recipe), run.path / LEARNED
    if not isinstance(codec, Learns) or any(row.get("kind") == "equipped" for row in read_jsonl(run.journal)):
        return
    with locked(run.path):
        _learn(codec, path, run, recipe, inspection, on)


def _learn(codec: Learns, path: Path, run: Run, recipe: Recipe, inspection: Inspection, on: On) -> None:
    train, held = (inspection.contents(inspection.split(name)) for name in ("train", "holdout"))
    known = [int(row["steps"]) for row in read_jsonl(run.journal) if row.get("kind") == "equip"]
    steps = known[0] if known else int(recipe.training["steps"])
    if not steps:
        steps = codec.paced(train, 60 * recipe.minutes * codec.share / (1 - codec.share))
        append_json(run.journal, {"kind": "equip", "steps": steps}, durable=True)
    tensors, sentence = codec.learn(train, held, steps, Noise("equip", recipe.seed))
    if tensors:
        save_tensors(path, tensors)
    append_json(run.journal, {"kind": "equipped", "kept": bool(tensors)}, durable=True)
    on(Event("done", "train", sentence))
