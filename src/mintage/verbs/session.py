"""One sitting of a training: the loop of steps, forecasts, previews and checkpoints, and the finish.

The journal is the only decision record: whatever deviates from the recipe is written there, durably, before it acts, so
that replaying recipe and journal gives the same bytes. What can change the weights happens at fixed steps; previews and
checkpoints follow the clock. Ctrl-C saves and stops; NaN rolls back to the last whole state; a family's alarm starts the
training again with its cure.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch

from mintage.core.config import pick, to_json
from mintage.core.errors import InterruptedRun, TrainingError
from mintage.core.events import On
from mintage.core.machine import Meter
from mintage.core.protocols import Calibrates, Scores, Watches
from mintage.core.spec import Alarm, Recipe
from mintage.core.store import (
    Run,
    append_json,
    load_tensors,
    read_json,
    read_jsonl,
    save_tensors,
    write_json,
)
from mintage.core.words import say
from mintage.nn.noise import Noise
from mintage.nn.trainer import Clock, Diverged, Trainer, Training
from mintage.verbs import averages, journal, plan, stages
from mintage.verbs.dataset import Dataset
from mintage.verbs.interrupt import Interrupt
from mintage.verbs.load import build_model, build_task, fill, parent_name, save_model
from mintage.verbs.parent import inherit
from mintage.verbs.previews import Previewer
from mintage.verbs.tracking import Tracker

MARKS = 16  # fixed shares of the training at which the average is scored on holdout
CHECKPOINT_SECONDS = 6.0
ROLLBACKS = 3
WATCH = (0.05, 0.1, 0.2)  # shares of the first clock at which a family may raise an alarm, before any forecast changes it
RESTARTS = 2  # alarms that start a training again; a later one is only said
BEST = "best-average.safetensors"
WORTH = 0.998  # how much lower the best holdout score must be than the last one to be the model
SPEAK_SECONDS = 0.5


class Session:
    """One sitting of a training: the weights, the clock, and what is told to the person."""

    def __init__(self, run: Run, recipe: Recipe, dataset: Dataset, sketch: Any, on: On, profile: bool = False) -> None:
        """Replays the journal; call ``resume`` before ``run``."""
        self.run_, self.frozen, self.dataset, self.sketch = run, recipe, dataset, sketch
        self.tracker, self.meter = Tracker(run, on, profile), Meter()
        self.previewer = Previewer(run, recipe, dataset, self.tracker.say)
        self.rehearsed: Mapping[str, float] = {}
        self.begun = time.perf_counter()
        self._build()

    def _build(self) -> None:
        """Everything that follows from the recipe and the journal: model, trainer, clock."""
        self.story = story = journal.replay(self.frozen, read_jsonl(self.run_.journal))
        self.recipe = self.previewer.recipe = recipe = story.recipe
        self.task, self.model = build_task(recipe), build_model(recipe).to(recipe.device)
        self.shadow = build_model(recipe)
        self.training = pick(Training, recipe.training)
        self.minutes, self.checked = story.minutes, story.checked
        self.trainer = Trainer(self.model, self.training, story.clock, recipe.seed, recipe.dtype, recipe.device)
        self.trainer.salt, self.trainer.lr_factor = story.salt, story.lr_factor
        self.step, self.earlier, self.costs = 0, 0.0, dict[str, float]()
        self.ahead: dict[int, Any] = {}

    @property
    def clock(self) -> Clock:
        """Steps to progress, as re-solved so far."""
        return self.trainer.clock

    @property
    def elapsed(self) -> float:
        """Seconds of training in all sittings."""
        return self.earlier + time.perf_counter() - self.begun

    def resume(self) -> None:
        """Take over the newest whole checkpoint; say so if newer ones were damaged."""
        torch.set_num_threads(self.recipe.threads)
        if self.story.unswept:
            self._sweep()
        found, listed = self.run_.newest_checkpoint(), self.run_.listed()
        for path in found.skipped if found is not None else [path for _, path in listed]:
            step = found.step if found is not None else 0
            self.tracker.say(
                "warning", say("The newest checkpoint {name} is damaged; going on from step {step}.", name=path.name, step=step)
            )
            path.unlink(missing_ok=True)
        if found is not None:
            self.trainer.load(found.tensors)
            self.step = found.step
        else:
            self._start()
        self._remember()
        rows = [row for row in read_jsonl(self.run_.events) if row.get("kind") == "step" and row["step"] <= self.step]
        self.earlier = max([float(row["elapsed"]) for row in (*rows[-1:], *self.story.alarms[-1:])], default=0.0)
        begin = time.perf_counter()
        self.dataset = stages.coded(self.model, self.recipe, self.dataset)
        self.earlier += time.perf_counter() - begin
        self.begun = time.perf_counter()

    def _sweep(self) -> None:
        """Remove the states from before an alarm, which belong to other settings, and note that they are gone."""
        for path in self.run_.checkpoints.glob("*"):
            path.unlink()
        append_json(self.run_.journal, {"kind": "afresh"}, durable=True)
        self.story.unswept = False

    def _start(self) -> None:
        """Step 0: inherited weights, closed-form work, the first checkpoint."""
        if self.recipe.parent:
            share, name = inherit(self.model, self.recipe), parent_name(self.recipe.parent)
            self.tracker.say(
                "warning", say("It starts from {name}: {share} % of its weights.", name=name, share=round(100 * share))
            )
        if self.recipe.first:
            stages.begin(self.model, self.run_, self.recipe, self.dataset)
        if hasattr(self.model, "settle"):
            self.model.settle(self.dataset.settling())
        self.run_.save_checkpoint(0, self.trainer.state(), keep="step0")

    def _remember(self) -> None:
        """The clock as it was at the loaded step; later decisions wait until their step."""
        story = journal.replay(self.frozen, read_jsonl(self.run_.journal), self.step)
        self.trainer.clock, self.ahead = story.clock, story.ahead
        self.trainer.half_lives()

    def run(self) -> None:
        """Step until the clock ends, a person stops it, or it diverges past repair."""
        self.begun = time.perf_counter()
        spoken = self.begun - SPEAK_SECONDS
        saved = self.begun + CHECKPOINT_SECONDS
        with Interrupt() as interrupt, self.tracker.profiler():
            while self.trainer.lanes and self.step < self.clock.steps:
                try:
                    losses = self.trainer.step(
                        self.step,
                        lambda noise: plan.training_batch(self.recipe, self.dataset, self.task, self.step, noise),
                    )
                except Diverged:
                    self._rollback()
                    continue
                now = time.perf_counter()
                self._learn_cost()
                self.step += 1
                self.tracker.profile_step()
                self._at_fixed_steps()
                if now - spoken > SPEAK_SECONDS or self.step == self.clock.steps:
                    spoken = now
                    self._speak(losses)
                if self.previewer.due(self.elapsed, self.minutes * 60):
                    self._preview()
                if interrupt.asked or time.perf_counter() > saved:
                    begin = time.perf_counter()
                    self.run_.save_checkpoint(self.step, self.trainer.state())
                    saved = time.perf_counter() + max(CHECKPOINT_SECONDS, 30 * (time.perf_counter() - begin))
                if interrupt.asked:
                    self._preview()
                    raise InterruptedRun(
                        say("Stopped at step {step} and saved; the same command goes on from here.", step=self.step)
                    )

    def _learn_cost(self) -> None:
        for name, seconds in self.trainer.seconds.items():
            self.costs[name] = 0.95 * self.costs.get(name, seconds) + 0.05 * seconds

    def _speak(self, losses: Mapping[str, float]) -> None:
        left, phases = self._left(), [lane.phase for lane in self.trainer.lanes]
        data = {
            "step": self.step, "steps": self.clock.steps, "progress": round(self.clock.progress(self.step), 5),
            "elapsed": round(self.elapsed, 2), "left": round(left, 1), "losses": {k: round(v, 6) for k, v in losses.items()},
            "speed": round(self.recipe.batch / plan.seconds_at(phases, self._known(), self.clock.progress(self.step - 1)), 1),
        }  # fmt: skip
        self.tracker.say("step", "", **data)

    def _known(self) -> dict[str, float]:
        """Seconds of a step of each phase: smoothed from this sitting, else from the rehearsal."""
        return {**self.rehearsed, **self.costs}

    def _left(self) -> float:
        """Forecast seconds from here to the end, previews and checkpoints included."""
        phases = [lane.phase for lane in self.trainer.lanes]
        ahead = sum(n * plan.seconds_at(phases, self._known(), p) for n, p in self.clock.stretches(self.step))
        return ahead / (1 - plan.OVERHEAD)

    def _at_fixed_steps(self) -> None:
        """What depends on progress alone, never on the clock: alarms, forecast checks, holdout scores, the trunk."""
        before, after = self.clock.progress(self.step - 1), self.clock.progress(self.step)
        if any(before < mark <= after for mark in WATCH) and self._alarmed(after):
            return
        if way := self.ahead.pop(self.step, None):
            self.clock.resolve(self.step, way)
            self.trainer.half_lives()
        for quarter in (1, 2, 3):
            if before < quarter / 4 <= after and quarter not in self.checked and not self.training.steps:
                self.checked.add(quarter)
                self._forecast(quarter)
        if (mark := int(after * MARKS)) != int(before * MARKS):
            if self.training.average and all(lane.done for lane in self.trainer.lanes):
                averages.keep_snapshot(self.run_.checkpoints, mark, self.trainer.averaged())
            if isinstance(self.model, Scores):
                self._score()
        if self.step == self.trainer.trunk():
            self.run_.save_checkpoint(self.step, self.trainer.state(), keep="trunk")

    def _alarmed(self, progress: float) -> bool:
        """Let the family look; its alarm starts the training again with the cure, and True comes back."""
        if not isinstance(self.model, Watches) or self.story.extended:
            return False
        noise = Noise("watch", self.recipe.seed, self.step)
        batch = plan.training_batch(self.recipe, self.dataset, self.task, self.step, noise.fork("batch"))
        with torch.no_grad(), self.trainer.autocast():
            alarm = self.model.watch(batch, progress, noise)
        if alarm is None:
            return False
        if len(self.story.alarms) >= RESTARTS:
            self.tracker.say("warning", say("Again at step {step}: {reason} It goes on.", step=self.step, reason=alarm.reason))
            return False
        self._start_again(alarm)
        return True

    def _start_again(self, alarm: Alarm) -> None:
        """From step 0 with other settings in the time that is left; journalled before it acts."""
        cured = journal.changed(self.recipe, alarm.change)
        way = [(self.training.steps, 1.0)]
        if not self.training.steps:
            self.rehearsed = plan.rehearse(cured, self.dataset)
            room = max(self.minutes * 60 - self.elapsed, 1.0) * (1 - plan.OVERHEAD)
            way = plan.knots(build_model(cured).phases, self.rehearsed, room)
        change, at = dict(alarm.change), {"step": self.step, "elapsed": round(self.elapsed, 2)}
        row = {"kind": "alarm", **at, "reason": alarm.reason, "change": change, "knots": [(0, 0.0), *way]}
        append_json(self.run_.journal, row, durable=True)
        pairs = " ".join(f"-o {key}={value}" for key, value in change.items())
        told = say(
            "Alarm at step {step}: {reason} It starts again with {change}.", step=self.step, reason=alarm.reason, change=pairs
        )
        if by_hand := sorted(change.keys() & self.recipe.options.keys()):
            told += " " + say("That replaces what you had set: {keys}.", keys=", ".join(by_hand))
        self.tracker.say("warning", told)
        self._build()
        self.resume()

    def _forecast(self, quarter: int) -> None:
        """Re-solve the remaining steps once if the forecast is off by more than a tenth; journalled before it acts."""
        left, room = self._left(), self.minutes * 60 - self.elapsed
        way: list[tuple[int, float]] = []
        if abs(left - room) > 0.1 * self.minutes * 60:
            phases, here = [lane.phase for lane in self.trainer.lanes], self.clock.progress(self.step)
            way = plan.knots(phases, self._known(), max(room, 1.0) * (1 - plan.OVERHEAD), self.step, here)
        append_json(self.run_.journal, {"kind": "resolve", "at": self.step, "knots": way, "quarter": quarter}, durable=True)
        if way:
            self.clock.resolve(self.step, way)
            self.trainer.half_lives()
            self.tracker.say(
                "warning",
                say(
                    "The forecast was off: {steps} steps now fill the {minutes} minutes.",
                    steps=self.clock.steps,
                    minutes=round(self.minutes, 2),
                ),
            )

    def _averaged(self) -> Any:
        fill(self.shadow, {k: v.cpu() for k, v in self.trainer.averaged().items()}, self.run_.live)
        return self.shadow.eval()

    def _score(self) -> None:
        """Score the average on holdout and keep it if it is the best so far."""
        score, note = self.previewer.holdout_score(self._averaged()), self.run_.checkpoints / "best.json"
        self.tracker.say("step", "", step=self.step, holdout=round(score, 6), elapsed=round(self.elapsed, 2))
        if not note.exists() or score < read_json(note)["score"]:
            save_tensors(self.run_.checkpoints / BEST, self.shadow.state_dict())
            write_json(note, {"step": self.step, "score": score, "file": BEST})

    def _preview(self) -> None:
        shadow = self._averaged()
        self.previewer.show(shadow, self.sketch, self.step, self.elapsed)
        save_model(self.run_.live, self.recipe, shadow.state_dict(), self.sketch, self._facts())

    def _rollback(self) -> None:
        """Back to the last whole state with other noise and half the rate; journalled before it acts."""
        past = journal.replay(self.frozen, read_jsonl(self.run_.journal)).rollbacks
        found = self.run_.newest_checkpoint()
        if past >= ROLLBACKS or found is None:
            raise TrainingError(
                say(
                    "Training diverged {n} times at {path}; try -o lr with a smaller value.",
                    n=past + 1,
                    path=self.run_.path,
                )
            )
        row = {
            "kind": "rollback",
            "from": self.step,
            "to": found.step,
            "salt": past + 1,
            "lr_factor": 0.5 ** (past + 1),
        }
        append_json(self.run_.journal, row, durable=True)
        self.trainer.salt, self.trainer.lr_factor = past + 1, 0.5 ** (past + 1)
        self.trainer.load(found.tensors)
        self.tracker.say(
            "warning",
            say("Step {step} was not a number: back to step {to} at half the rate.", step=self.step, to=found.step),
        )
        self.step = found.step
        self._remember()

    def _facts(self) -> dict[str, Any]:
        energy, how = self.meter.read()
        parts, kept = self.dataset.parts, self.trainer.averaged()  # without what only training needs
        own = {
            "steps": self.step, "minutes": round(self.elapsed / 60, 4), "energy_wh": round(energy, 4), "energy_how": how,
            "parameters": sum(p.numel() for n, p in self.shadow.named_parameters() if n in kept),
            "alarms": [{key: row[key] for key in ("step", "reason", "change")} for row in self.story.alarms],
            "data": {"train": len(parts["train"]), "held_out": len(parts["holdout"]) + len(parts["test"])},
        }  # fmt: skip
        return stages.facts(self.run_, self.recipe, own)

    def finish(self) -> None:
        """Last checkpoint, the better of the final and the best average, and the model folder."""
        self.run_.save_checkpoint(self.step, self.trainer.state())
        model, note = self._averaged(), self.run_.checkpoints / "best.json"
        if note.exists():
            best = read_json(note)
            if best["score"] < WORTH * self.previewer.holdout_score(model):
                fill(model, load_tensors(note.with_name(best["file"])), note)
                self.tracker.say(
                    "warning",
                    say(
                        "The average of step {step} read the held-out part better than the last one, so it is the model.",
                        step=best["step"],
                    ),
                )
        facts = self._facts()
        if self.training.average:
            choice = averages.choose(model, self.run_.checkpoints, self.training.average, self.previewer)
            facts["average"] = to_json(choice)
            self.tracker.say("warning", str(choice))
        if isinstance(model, Calibrates):
            model.calibrate(self.dataset.settling(most=getattr(model, "looks", 0)), self.dataset.held())
        self.previewer.keep_index()
        save_model(self.run_.model, self.recipe, model.state_dict(), self.sketch, facts)
        write_json(self.run_.path / "finished.json", {"step": self.step, "minutes": self.elapsed / 60})
