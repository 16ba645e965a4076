"""train: from a wish to a finished model folder; the same command resumes, and a finished run can be given more.

It finds the place (new, resumed or extended run), plans, and lets ``session.Session`` sit through the training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, overload

from mintage.core.config import to_json
from mintage.core.errors import TrainingError, UsageError
from mintage.core.events import Event, On, ignore
from mintage.core.spec import Recipe
from mintage.core.store import (
    Run,
    append_json,
    find_run,
    load_tensors,
    read_json,
    read_jsonl,
    runs_folder,
    write_bytes,
    write_json,
    write_jsonl,
)
from mintage.core.words import say
from mintage.verbs import plan, stages
from mintage.verbs.dataset import Dataset, encoded
from mintage.verbs.equip import equip
from mintage.verbs.inspect import Inspection, inspect, manifest
from mintage.verbs.interrupt import locked
from mintage.verbs.journal import replay
from mintage.verbs.load import build_codec, build_model, fill, read_recipe
from mintage.verbs.parent import find_parent
from mintage.verbs.previews import Previewer
from mintage.verbs.session import Session
from mintage.verbs.tracking import Tracker


@dataclass(frozen=True)
class Trained:
    """What ``train`` leaves.

    Attributes:
        run: The run's folder.
        recipe: Its frozen recipe.
        steps: Steps done in all.
        minutes: Minutes of training in all sittings.
        said: How it began: new, resumed, extended or finished.
    """

    run: Path
    recipe: Recipe
    steps: int
    minutes: float
    said: str


def fit_sketch(recipe: Recipe, dataset: Dataset) -> Any:
    """The baseline of this data, fitted in seconds on the train split (order and smoothing chosen on holdout)."""
    sketch = build_model(recipe, "sketch")
    sketch.settle(dataset.settling())
    return sketch.eval()


def identity(recipe: Recipe) -> dict[str, Any]:
    """What makes two trainings the same run, apart from the budget."""
    keys = ("modality", "title", "task", "seed", "data_hash", "options", "parent")
    return {key: to_json(getattr(recipe, key)) for key in keys}


def plain(name: str, folder: Path) -> None:
    """Refuse a name that leads out of the folder of runs."""
    if not Path(name).parts or Path(name).is_absolute() or ".." in Path(name).parts:
        raise UsageError(say("--name {name}: the run would lie outside of {folder}; give a plain name.", name=name, folder=folder))


def find_place(folder: Path, name: str, recipe: Recipe) -> tuple[Run, Recipe | None, Recipe]:
    """The run that this recipe belongs to: (run, its frozen recipe if it exists, recipe with a parent if data changed)."""
    plain(name, folder)
    for number in range(1, 1000):
        run = Run(folder / (name if number == 1 else f"{name}-{number}"))
        if not run.recipe.exists():
            return run, None, recipe
        frozen = read_recipe(run.recipe)
        mine, theirs = identity(recipe), identity(frozen)
        if mine == {**theirs, "parent": recipe.parent} or mine == theirs:
            return run, frozen, recipe
        if {**mine, "data_hash": "", "parent": ""} == {**theirs, "data_hash": "", "parent": ""} and (
            run.model / "card.json"
        ).exists():
            recipe = replace(recipe, parent=str(run.model))
    raise TrainingError(
        say("There are a thousand runs called {name} in {folder}; choose another --name.", name=name, folder=folder)
    )


@overload
def train(
    wish: plan.Wish, runs: str = ..., dry_run: Literal[False] = ..., profile: bool = ..., on: On = ...,
    inspection: Inspection | None = ...,
) -> Trained: ...  # fmt: skip
@overload
def train(
    wish: plan.Wish, runs: str = ..., dry_run: bool = ..., profile: bool = ..., on: On = ...,
    inspection: Inspection | None = ...,
) -> Trained | plan.Plan: ...  # fmt: skip
def train(
    wish: plan.Wish,
    runs: str = "",
    dry_run: bool = False,
    profile: bool = False,
    on: On = ignore,
    inspection: Inspection | None = None,
) -> Trained | plan.Plan:
    """Train a model, or go on with one.

    Args:
        wish: What the person asked for.
        runs: Folder of runs; MINTAGE_RUNS or ``runs`` if empty.
        dry_run: Stop after the plan.
        profile: Write a Chrome trace of a few steps into the run's folder.
        on: Listener of progress.
        inspection: The data, if it was looked at already.

    Returns:
        The finished training; the plan when ``dry_run``.

    Raises:
        DataError: Nothing usable in the data.
        RefusedError: Family or task do not fit the data.
        InterruptedRun: A person stopped it; everything is saved.
    """
    if wish.parent:
        wish = replace(wish, parent=str(find_parent(wish.parent, runs)))
    if wish.codec:
        wish = replace(wish, codec=str(find_run(wish.codec, runs).path))
    if inspection is None:
        inspection = inspect(wish.data, plan.options_of(wish), on)
    for line in inspection.summary:
        on(Event("done", "inspect", line))
    outlined = plan.outline(wish, inspection)
    run, frozen, draft = find_place(runs_folder(runs), plan.run_name(wish, outlined.recipe.title), outlined.recipe)
    outlined = replace(outlined, recipe=draft)
    if frozen is not None and not dry_run:
        return _go_on(run, frozen, inspection, wish, profile, on)
    sketch = fit_sketch(draft, outlined.dataset)
    if not dry_run:
        Previewer(run, draft, outlined.dataset, Tracker(run, on).say).show_sketch(sketch)
    solved = plan.solve(outlined)
    on(
        Event(
            "done",
            "plan",
            plan.describe(solved),
            {"recipe": to_json(solved.recipe), "step_seconds": dict(solved.step_seconds)},
        )
    )
    for note in solved.notes:
        on(Event("done", "plan", note))
    if dry_run:
        return solved
    write_jsonl(run.manifest, manifest(inspection))
    if wish.codec:
        stages.lay(run, solved.recipe, wish.codec)
    write_json(run.recipe, to_json(solved.recipe))  # last: it makes the folder a run
    equip(run, solved.recipe, inspection, on)
    return _sit(run, solved.recipe, outlined.dataset, sketch, solved.step_seconds, profile, on, "new")


def _go_on(run: Run, frozen: Recipe, inspection: Inspection, wish: plan.Wish, profile: bool, on: On) -> Trained:
    """Resume an unfinished run exactly, or give a finished one more minutes from its trunk."""
    current = replay(frozen, read_jsonl(run.journal)).recipe
    dataset = encoded(frozen, inspection, build_codec(frozen))  # at the frozen size: other minutes may plan another
    sketch = _stored_sketch(run, frozen) or fit_sketch(frozen, dataset)
    done = run.path / "finished.json"
    if not done.exists():
        on(
            Event(
                "warning",
                "train",
                say("Going on with the unfinished run {path}.", path=run.path),
                {"run": str(run.path)},
            )
        )
        equip(run, frozen, inspection, on)
        return _sit(run, frozen, dataset, sketch, {}, profile, on, "resumed")
    finished = read_json(done, "step", "minutes")
    trunk = run.kept("trunk")
    if frozen.training["steps"] or trunk is None:
        on(Event("warning", "train", say("{path} is finished; nothing to add.", path=run.path), {"run": str(run.path)}))
        return Trained(run.path, frozen, finished["step"], finished["minutes"], "finished")
    start = int(trunk.name[5:13])
    costs = plan.rehearse(current, dataset)
    row = {"kind": "extend", "from": start, **_longer(run, current, start, wish.minutes, costs)}
    with locked(run.path):
        append_json(run.journal, row, durable=True)
        run.drop_checkpoints_after(start)
        done.unlink()
    on(
        Event(
            "warning",
            "train",
            say(
                "{path} is finished; it goes on from step {step} for {minutes} more minutes.",
                path=run.path,
                step=start,
                minutes=wish.minutes,
            ),
            {"run": str(run.path)},
        )
    )
    return _sit(run, frozen, dataset, sketch, costs, profile, on, "extended")


def _longer(run: Run, recipe: Recipe, trunk: int, more: float, costs: Mapping[str, float]) -> dict[str, Any]:
    """Clock and budget of a finished run that goes on from its trunk for ``more`` minutes."""
    rows = [row for row in read_jsonl(run.events) if row.get("kind") == "step" and row["step"] <= trunk]
    spent = float(rows[-1]["elapsed"]) if rows else 0.0
    phases = build_model(recipe).phases
    decays = phases[0].start + (phases[0].stop - phases[0].start) * (1 - recipe.training["decay"])
    reached = min(spent / (spent + more * 60), decays)
    way = plan.knots(phases, costs, more * 60 * (1 - plan.OVERHEAD), trunk, reached)
    return {"knots": [(0, 0.0), (trunk, reached), *way], "minutes": spent / 60 + more}


def _stored_sketch(run: Run, recipe: Recipe) -> Any:
    path = next((f / "sketch" / "model.safetensors" for f in (run.model, run.live) if (f / "sketch").exists()), None)
    if path is None:
        return None
    sketch = build_model(recipe, "sketch")
    fill(sketch, load_tensors(path), path)
    return sketch.eval()


def _after_first(run: Run, recipe: Recipe, dataset: Dataset, profile: bool, on: On) -> Recipe:
    """Train the first stage unless it is finished; the recipe with that stage as its training left it."""
    if recipe.first is None:
        return recipe
    own = stages.place(run, recipe)
    if not (own.path / "finished.json").exists():
        on(Event("done", "train", say("Stage 1 of 2: {family}.", family=recipe.first.family), {"run": str(own.path)}))
        write_bytes(own.manifest, run.manifest.read_bytes())
        before = stages.place(Run(Path(recipe.parent).parent), recipe).model  # the same stage on the data as it was
        first = replace(recipe.first, parent=str(before) if recipe.parent and before.exists() else "")
        write_json(own.recipe, to_json(first))
        bare = stages.bare(dataset)
        _sit(own, first, bare, fit_sketch(first, bare), {}, profile, on, "stage")
        on(Event("done", "train", say("Stage 2 of 2: {family}.", family=recipe.family), {"run": str(run.path)}))
    return stages.as_trained(run, recipe)


def _sit(
    run: Run,
    recipe: Recipe,
    dataset: Dataset,
    sketch: Any,
    costs: Mapping[str, float],
    profile: bool,
    on: On,
    said: str,
) -> Trained:
    """One sitting: resume, run, finish, under the run's lock."""
    with locked(run.path):
        if recipe.first is not None:
            recipe = _after_first(run, recipe, dataset, profile, on)
        session = Session(run, recipe, dataset, sketch, on, profile)
        session.rehearsed = costs or (
            plan.rehearse(session.recipe, dataset) if session.trainer.lanes and not recipe.training["steps"] else {}
        )
        session.resume()
        if session.trainer.lanes and not recipe.training["steps"] and said != "stage":  # a stage alone is not judged
            session.previewer.prepare()
        session.run()
        session.finish()
        minutes = session.elapsed / 60
        on(
            Event(
                "done",
                "train",
                say("Trained {steps} steps in {minutes} min.", steps=session.step, minutes=round(minutes, 2)),
                {"run": str(run.path)},
            )
        )
        return Trained(run.path, session.recipe, session.step, minutes, said)
