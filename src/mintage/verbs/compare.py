"""compare: the duel of families, same data, same minutes, same judge: one table, one page, one sentence.

Each contestant is trained from nothing in a folder of its own under ``runs/DATA-compare/MINUTESmin/``, so no other run is
touched and none is given a start, but for a model that is named as a start: it is tuned for the same minutes as the others
train. The same command goes on where it stopped and uses what is finished. All are judged by
one feature net on the same test items, asked for the same things, at equal numbers. It does not repeat a training with
other seeds.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from mintage.core import registry
from mintage.core.config import from_json, to_json
from mintage.core.errors import StoreError, UsageError
from mintage.core.events import Event, On, ignore
from mintage.core.spec import Score, Spec
from mintage.core.store import Run, read_json, runs_folder, write_json
from mintage.core.words import say
from mintage.nn.trainer import Training
from mintage.verbs import plan, stages
from mintage.verbs.evaluate import assess, bench_of
from mintage.verbs.evidence import Bench
from mintage.verbs.inspect import Inspection, data_keys, dataset_hash, inspect
from mintage.verbs.load import parent_name
from mintage.verbs.mixture import mixed
from mintage.verbs.parent import find_parent, recipe_of
from mintage.verbs.ranking import Entry, Outcome, measure, outcome
from mintage.verbs.train import plain, train

SECONDS = 30.0  # of drawing, at most; three times a single report's, because all are cut to the slowest
BASELINE = "sketch"  # stands in every table, and is no contestant


@dataclass(frozen=True)
class Contestant:
    """Who takes part: the name in the table, and what is trained."""

    label: str
    wish: plan.Wish


@dataclass(frozen=True)
class Field:
    """Who takes part, who cannot and why, and what the plan would choose by itself."""

    contestants: tuple[Contestant, ...]
    refused: Mapping[str, str]
    default: str


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Attributes:
        data: The DATA argument.
        minutes: Minutes of training each.
        seed: Seed of training and judging.
        default: The family that the plan chooses for this data by itself.
        entries: The contestants with their judgements, in the order asked.
        refused: Families that cannot model this data, and why.
        outcome: Who won, by question and in one sentence.
        budgets: The number that stands for "real" at every budget compared so far: minutes → label → score.
        seconds: How long it took in this sitting.
        path: The page to show; ``report.json`` lies beside it.
        mixture: Whether a mixture of the two nearest is nearer still, one sentence; empty for texts.
    """

    data: str
    minutes: float
    seed: int
    default: str
    entries: tuple[Entry, ...]
    refused: Mapping[str, str]
    outcome: Outcome
    budgets: Mapping[str, Mapping[str, Score]]
    seconds: float
    path: str
    mixture: str = ""


def compare(
    data: str,
    families: Sequence[str] = (),
    minutes: float = 5.0,
    size: str = "",
    seed: int = 0,
    name: str = "",
    options: Sequence[str] = (),
    runs: str = "",
    on: On = ignore,
) -> Comparison:
    """Train and judge several families on the same data; run it again and it goes on.

    Args:
        data: Folder, file or sample name.
        families: Families to compare, and models to start from; every family that can model the data if empty.
        minutes: Minutes of training for each family.
        size: Example size, or empty.
        seed: Seed of training and judging.
        name: Name of the comparison; ``DATA-compare`` if empty.
        options: ``-o`` pairs; each goes to the families that know it.
        runs: Folder of runs; MINTAGE_RUNS or ``runs`` if empty.
        on: Listener of progress.

    Returns:
        The table, the winner, the sentence; the page is at ``path``.

    Raises:
        DataError: Nothing usable in the data.
        UsageError: An unknown family, fewer than two, or a value that makes no sense.
        RefusedError: A family that was named cannot model this data.
        InterruptedRun: A person stopped it; everything is saved.
    """
    from mintage.verbs import duel

    begin = time.perf_counter()
    wish = plan.Wish(data, minutes=minutes, size=size, seed=seed, options=tuple(options))
    wanted = [part.strip() for part in dict.fromkeys(families) if part.strip()]
    if families and len(wanted) < 2:
        given = ",".join(families)
        raise UsageError(say("--families {given}: give at least two, such as flow,vae; one alone is mintage make.", given=given))
    inspection = inspect(data, plan.options_of(wish), on)
    entered = enter(wish, wanted, inspection, runs)
    folder = place(runs_folder(runs), name or plan.run_name(wish, "compare"), wish, inspection)
    on(
        Event(
            "done",
            "compare",
            say(
                "{n} families, {minutes} min each: {labels}.",
                n=len(entered.contestants),
                minutes=f"{minutes:g}",
                labels=", ".join(c.label for c in entered.contestants),
            ),
            {"refused": dict(entered.refused)},
        )
    )
    places = {c.label: trained(c, folder, inspection, on) for c in entered.contestants}
    on(Event("done", "compare", say("All are trained; now one judge for all of them.")))
    benches = bench(places, seed, on)
    entries = judge(entered.contestants, benches, on)
    result = Comparison(
        data=data, minutes=minutes, seed=seed, default=entered.default, entries=entries, refused=entered.refused,
        outcome=outcome(entries, entered.default, minutes), budgets={}, seconds=0.0, path=str(folder / "compare.html"),
        mixture=str(mixed(entries, benches) or ""),
    )  # fmt: skip
    result = replace(result, budgets=budgets(folder, result), seconds=time.perf_counter() - begin)
    write_json(folder / "report.json", to_json(result))
    duel.write(Path(result.path), result, [benches[c.label] for c in entered.contestants])
    on(Event("done", "compare", result.outcome.sentence, {"path": result.path, "winner": result.outcome.winner}))
    return result


def named(name: str, wish: plan.Wish, runs: str) -> Contestant:
    """A family, or else a finished model that is tuned on this data."""
    if not any(part in registry.names("families") for part in name.split("+")):
        with suppress(UsageError):
            folder = str(find_parent(name, runs))
            return Contestant(f"from {parent_name(folder)}", replace(wish, family=recipe_of(folder).family, parent=folder))
    return Contestant(name, replace(wish, family=name))


def enter(wish: plan.Wish, families: Sequence[str], inspection: Inspection, runs: str = "") -> Field:
    """Who takes part. Everything that could be wrong with a wish is found here, before the first step of anybody.

    Raises:
        UsageError: An unknown family or option, or fewer than two families that fit.
        RefusedError: A family that was named does not fit.
    """
    data_only = tuple(pair for pair in wish.options if pair.partition("=")[0] in data_keys())
    own = plan.outline(replace(wish, options=data_only), inspection).recipe
    given = {name: spec for name, spec in own.cond.items() if name in ("class", "caption")}
    names = [name for name in registry.names("families") if name != BASELINE]
    reasons = {name: registry.get("families", name).refuse(own.target, given) for name in names}
    fitting = [name for name in names if not reasons[name]]
    refused = {} if families else {name: reason for name, reason in reasons.items() if reason}
    chosen = list(families) or [own.title, *(name for name in fitting if name != own.title)]
    if len(chosen) < 2:
        raise UsageError(say("Only {family} can model this data, so there is nothing to compare.", family=chosen[0]))
    contestants = tuple(named(name, wish, runs) for name in chosen)
    return Field(routed(contestants, inspection), refused, own.title)


def routed(contestants: Sequence[Contestant], inspection: Inspection) -> tuple[Contestant, ...]:
    """Each with those of the options that it knows; one that nobody knows goes to the first, whose plan says what is wrong."""
    known = {c.label: {*data_keys(), *keys_of(c.wish.family)} for c in contestants}
    everybody = set().union(*known.values())
    found: list[Contestant] = []
    first: Spec | None = None
    for i, contestant in enumerate(contestants):
        own = known[contestant.label] | {"" if i else key for key in map(key_of, contestant.wish.options) if key not in everybody}
        wish = replace(contestant.wish, options=tuple(pair for pair in contestant.wish.options if key_of(pair) in own))
        target = plan.outline(wish, inspection).recipe.target
        first = first or target
        if (target.kind, target.channels, target.vocab) != (first.kind, first.channels, first.vocab) or (
            target.kind == "grid" and target.shape != first.shape
        ):
            sizes = ["×".join(map(str, spec.shape)) for spec in (target, first)]
            sentence = (
                "{label} makes examples of {size}, {other} of {first}, so they cannot face one judge; give --size, or leave it out."
            )
            raise UsageError(say(sentence, label=contestant.label, size=sizes[0], other=found[0].label, first=sizes[1]))
        found.append(replace(contestant, wish=wish))
    return tuple(found)


def key_of(pair: str) -> str:
    """``width`` of ``width=64``."""
    return pair.partition("=")[0]


def keys_of(family: str) -> set[str]:
    """The ``-o`` keys of training that a family knows; two stages know those of both, and which of the two is meant."""
    own = {part: {field.name for field in fields(registry.get("families", part, "Config"))} for part in family.split("+")}
    general = {field.name for field in fields(Training)}
    if len(own) == 1:
        return general.union(*own.values())
    named = {f"{part}.{key}" for part, keys in own.items() for key in keys | general}
    return general.union(named, *own.values(), (field.name for field in fields(stages.Config)))


def place(runs: Path, name: str, wish: plan.Wish, inspection: Inspection) -> Path:
    """The folder of this comparison: that of an earlier sitting with the same settings, else a new one beside it."""
    plain(name, runs)
    settings, folder = settings_of(wish, inspection), runs / name
    for number in range(1, 1000):
        path = folder / (f"{wish.minutes:g}min" if number == 1 else f"{wish.minutes:g}min-{number}")
        if not (path / "settings.json").exists():
            write_json(path / "settings.json", settings)
            return path
        if read_json(path / "settings.json") == settings:
            return path
    raise StoreError(say("There are a thousand comparisons in {folder}; choose another --name.", folder=folder))


def settings_of(wish: plan.Wish, inspection: Inspection) -> dict[str, Any]:
    """What makes two comparisons the same one, whoever takes part."""
    return {
        "data_hash": dataset_hash(inspection.items), "minutes": wish.minutes, "size": wish.size, "seed": wish.seed,
        "options": sorted(wish.options),
    }  # fmt: skip


def trained(contestant: Contestant, folder: Path, inspection: Inspection, on: On) -> Path:
    """The contestant's finished run: trained now, gone on with, or found finished."""
    run = Run(folder / (re.sub(r"[^\w+.-]+", "-", contestant.label).strip("-.") or "run"))
    if (run.path / "finished.json").exists() and (run.model / "card.json").exists():
        on(Event("done", "compare", say("{label}: trained before, used again.", label=contestant.label), {"run": str(run.path)}))
        return run.path
    on(Event("done", "compare", say("{label}: training.", label=contestant.label), {"run": str(run.path)}))

    def quiet(event: Event) -> None:
        if event.verb != "inspect":  # said once, for all of them
            on(event)

    return train(replace(contestant.wish, name=run.path.name), runs=str(folder), on=quiet, inspection=inspection).run


def bench(places: Mapping[str, Path], seed: int, on: On) -> dict[str, Bench]:
    """All on the bench: one judge, and of each as many items as the slowest made."""
    found = {label: bench_of(str(path), seed=seed, seconds=SECONDS) for label, path in places.items()}
    judge_of_all = next(iter(found.values())).features
    for label, one in found.items():
        on(Event("step", "compare", "", {"phase": "drawing", "label": label}))
        one.features = judge_of_all
    fewest = min(len(one.drawn[0]) for one in found.values())
    for one in found.values():
        one.cut(fewest)
    return found


def judge(contestants: Sequence[Contestant], benches: Mapping[str, Bench], on: On) -> tuple[Entry, ...]:
    """Each contestant with its report; the learning curve belongs to the data, so it is drawn once."""
    curve = next(iter(benches.values())).curve()
    entries = []
    for contestant in contestants:
        one = benches[contestant.label]
        report = assess(one, curve, on)
        entries.append(Entry(contestant.label, contestant.wish.family, one.loaded.run.path, report))
    return tuple(entries)


def budgets(folder: Path, result: Comparison) -> dict[str, dict[str, Score]]:
    """What the same families reached at other minutes, each trained from nothing for them; this one included."""
    mine = read_json(folder / "settings.json")
    found = {result.minutes: {e.label: line.made for e in result.entries if (line := measure(e.report))}}
    for path in folder.parent.glob("*/report.json"):
        settings = path.with_name("settings.json")
        if path.parent == folder or not settings.exists():
            continue
        theirs = read_json(settings, "minutes")
        if {**theirs, "minutes": 0} == {**mine, "minutes": 0}:
            earlier = read_json(path, "budgets")["budgets"].get(f"{theirs['minutes']:g}", {})
            found[theirs["minutes"]] = {label: from_json(Score, score) for label, score in earlier.items()}
    return {f"{minutes:g}": found[minutes] for minutes in sorted(found)}
