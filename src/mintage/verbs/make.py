"""make: the whole loop once, inspect → sketch → train → generate → evaluate → verdict.

It does nothing that the other verbs do not do: it calls them in order, shares the minutes among them, and says which
commands it stood for.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mintage.core.errors import UsageError
from mintage.core.events import Event, On, ignore
from mintage.core.words import say
from mintage.verbs.evaluate import Report, evaluate
from mintage.verbs.generate import Made, generate
from mintage.verbs.inspect import inspect
from mintage.verbs.plan import Plan, Wish, options_of
from mintage.verbs.train import Trained, train

JUDGING = 0.2  # share of the minutes kept for samples and report
JUDGING_MOST = 1.5  # minutes


@dataclass(frozen=True)
class Loop:
    """What one turn of the loop left.

    Attributes:
        run: The run's folder.
        made: The samples.
        report: The judgement with its verdict.
        minutes: Minutes of the whole loop.
        commands: The single commands that it stood for.
    """

    run: Path
    made: Made
    report: Report
    minutes: float
    commands: tuple[str, ...]


def make(
    data: str,
    minutes: float = 5.0,
    family: str = "",
    size: str = "",
    seed: int = 0,
    name: str = "",
    options: Sequence[str] = (),
    runs: str = "",
    dry_run: bool = False,
    on: On = ignore,
    parent: str = "",
) -> Loop | Plan:
    """Run the loop once; run it again and it goes on.

    Args:
        data: Folder, file or sample name (``digits``, ``code``).
        minutes: Budget of the whole loop.
        family: Family, or empty for the medium's default.
        size: Example size, or empty.
        seed: Seed of all randomness.
        name: Run name, or empty for ``data-family``.
        options: ``-o`` pairs.
        runs: Folder of runs; MINTAGE_RUNS or ``runs`` if empty.
        dry_run: Stop after the plan.
        on: Listener of progress.
        parent: Model to start from, or empty.

    Returns:
        The run, its samples, its report; the plan when ``dry_run``.

    Raises:
        DataError: Nothing usable in the data.
        UsageError: A value that makes no sense.
        InterruptedRun: A person stopped it; everything is saved.
    """
    if minutes <= 0:
        raise UsageError(say("--minutes {minutes}: give a number above 0, such as 5.", minutes=minutes))
    begin = time.perf_counter()
    training = minutes - min(JUDGING_MOST, JUDGING * minutes)
    wish = Wish(data, family=family, minutes=training, size=size, seed=seed, name=name, options=tuple(options), parent=parent)
    inspection = inspect(data, options_of(wish), on)
    trained = train(wish, runs=runs, dry_run=dry_run, on=on, inspection=inspection)
    if not isinstance(trained, Trained):
        return trained
    made = generate(str(trained.run), n=16, seed=seed, on=on)
    report = evaluate(str(trained.run), on=on)
    commands = _commands(wish, trained)
    verdict = report.verdict
    on(
        Event(
            "done",
            "make",
            f"{verdict.word.upper()}. {verdict.reason} {verdict.next_step}",
            {"commands": list(commands)},
        )
    )
    return Loop(trained.run, made, report, (time.perf_counter() - begin) / 60, commands)


def _commands(wish: Wish, trained: Trained) -> tuple[str, ...]:
    """The verbs one by one, as a person would type them."""
    chosen = {
        "--family": wish.family,
        "--size": wish.size,
        "--seed": str(wish.seed or ""),
        "--name": wish.name,
        "--from": wish.parent,
    }
    flags = [part for flag, value in chosen.items() if value for part in (flag, value)]
    flags += [part for pair in wish.options for part in ("-o", pair)]
    data = shlex.quote(wish.data)
    return (
        f"mintage inspect {data}",
        shlex.join(["mintage", "train", wish.data, "--minutes", f"{wish.minutes:g}", *flags]),
        f"mintage generate {trained.run}",
        f"mintage evaluate {trained.run}",
    )
