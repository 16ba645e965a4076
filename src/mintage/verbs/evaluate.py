"""evaluate: from a model to a verdict, gold, bubble or unproven, with the reason and what to do next.

Five questions (real, varied, its own, obeys, costs); every number beside what held-out real items score (the floor) and
what the sketch scores, with its interval. ``decide`` is the verdict and reads top to bottom; its constants stand here
and nowhere else. It does not judge taste, and a good verdict is no promise of privacy.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import mintage
from mintage.core import registry
from mintage.core.config import to_json
from mintage.core.errors import GateError
from mintage.core.events import Event, On, ignore
from mintage.core.spec import Cond, Evidence, Score, Verdict
from mintage.core.store import write_json
from mintage.core.words import say
from mintage.metrics.likelihood import GAIN  # decides "real" for tokens
from mintage.nn.features import VERSION
from mintage.nn.intervals import share
from mintage.verbs.dataset import reopen
from mintage.verbs.evidence import SECONDS, Bench, Cost, Point
from mintage.verbs.load import load, read_recipe

QUESTIONS = ("real", "varied", "its own", "obeys", "costs")
FLOOR_TIMES = 3.0  # kernel distance: at most this many times the upper end of held-out's interval
RECALL_SHARE = 0.5  # of held-out's recall (texts: of its different three-grams)
OBEY_SHARE = 0.8  # of how often held-out items are read as what they are
COPY_P = 1e-3  # one-sided Fisher test of copies against held-out items
HELD_LEAST = 30  # held-out items below which nothing about "real" can be said
HELD_SHARE = 0.2  # of all items are held out
GAIN_WIDTH = 0.1  # nats per character or token: an interval wider than this proves nothing
HELPS = 0.03  # a doubling of the data that gains this much is worth its while
HEADLINES = ("kernel distance", "motion distance", "two-sample accuracy")  # decide "real" for grids; of clips, how they move
FIRST = ("bits per byte", "nats per character", "nats per token", *HEADLINES, "coverage", "recall", "copies", "copy p-value")


@dataclass(frozen=True)
class Line:
    """One number of the report: what the model scores, what held-out items score, what the sketch scores."""

    question: str
    made: Score
    floor: Score | None = None
    sketch: Score | None = None


@dataclass(frozen=True)
class Slice:
    """One number for the items of one class."""

    name: str
    score: str
    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Report:
    """The judgement of one model.

    Attributes:
        verdict: Gold, bubble or unproven, with reason and next step.
        lines: All numbers, in the order of the five questions.
        refused: Why a number is missing, by metric.
        slices: Numbers by class, worst first.
        curve: The learning curve on the person's own data (lower is better).
        train: Training items.
        held: Held-out items.
        made: Items made for this judgement.
        seed: Seed of the judgement.
        versions: Of what judged.
        seconds: How long judging took.
        path: The page to show.
    """

    verdict: Verdict
    lines: tuple[Line, ...]
    refused: Mapping[str, str]
    slices: tuple[Slice, ...]
    curve: tuple[Point, ...]
    train: int
    held: int
    made: int
    seed: int
    versions: Mapping[str, str]
    seconds: float
    path: str = ""

    def line(self, name: str) -> Line | None:
        """A number by its name."""
        return next((line for line in self.lines if line.made.name == name), None)


def judge(made: Evidence, floor: Evidence | None, sketch: Evidence, held: int) -> tuple[list[Line], dict[str, str]]:
    """Ask every metric the same about all three; also why a metric refused. ``held`` counts held-out items."""
    lines, refused = [], {}
    for name in registry.names("metrics"):
        metric = registry.get("metrics", name)()
        reason = metric.refuse(made.target, held)
        if reason:
            refused[name] = reason
            continue
        low, base = ({s.name: s for s in metric(e)} if e is not None else {} for e in (floor, sketch))
        lines += [Line(metric.question, score, low.get(score.name), base.get(score.name)) for score in metric(made)]
    return sorted(lines, key=lambda line: (QUESTIONS.index(line.question), place(line.made.name))), refused


def place(name: str) -> int:
    """What the verdict reads comes first."""
    return FIRST.index(name) if name in FIRST else len(FIRST)


def better(a: Score, b: Score) -> tuple[float, float]:
    """How much better a is than b, and the joint 95 % margin of that difference."""
    sign = 1.0 if a.better == "higher" else -1.0
    gap = sign * (a.value - b.value)
    worse_a, better_b = (a.value - a.low, b.high - b.value) if sign > 0 else (a.high - a.value, b.value - b.low)
    better_a, worse_b = (a.high - a.value, b.value - b.low) if sign > 0 else (a.value - a.low, b.high - b.value)
    return gap, math.hypot(worse_a, better_b) if gap > 0 else math.hypot(better_a, worse_b)


def beats(a: Score, b: Score) -> int:
    """1 when a is better than b beyond the interval, −1 when worse beyond it, else 0."""
    gap, margin = better(a, b)
    return 0 if abs(gap) <= margin else int(math.copysign(1, gap))


def decide(
    lines: Sequence[Line], train: int, held: int, curve: Sequence[Point] = (), files: Mapping[str, int] | None = None
) -> Verdict:
    """The verdict on a set of numbers: faults first, then proof, then what is missing."""
    by_name = {line.made.name: line for line in lines}
    fault = _copies(by_name) or _sameness(by_name) or _disobeys(lines)
    if fault:
        return fault
    if files and 0 < (own := files["holdout"] + files["test"]) < min(HELD_LEAST, held):  # pieces of one are much alike
        return _too_few(files["train"], own, held)
    headlines = [by_name[name] for name in HEADLINES if name in by_name and by_name[name].sketch]
    gain = by_name.get(GAIN)
    if held < HELD_LEAST or not (headlines or gain):
        return _too_few(train, held)
    signs = [beats(line.made, line.sketch) for line in headlines if line.sketch]
    sharp = any(map(would_see, headlines))
    if gain:
        signs, sharp = [(gain.made.low > 0) - (gain.made.high < 0)], gain.made.high - gain.made.low < GAIN_WIDTH
    if max(signs) < 1 and (sharp or min(signs) < 0):
        return Verdict("bubble", say("No better than the sketch, which took seconds to fit."), more_time())
    if max(signs) < 1 or min(signs) < 0:
        reason = say("It looks better than the sketch, but {n} held-out items are too few to be sure.", n=held)
        return Verdict("unproven", reason, more_items(headlines, train, held) or more_time())
    kernel = by_name.get("kernel distance")
    if kernel and kernel.floor and kernel.made.value > FLOOR_TIMES * max(kernel.floor.high, 0.0):
        reason = say(
            "Better than the sketch, but more than {times} times as far from real as held-out items are.",
            times=int(FLOOR_TIMES),
        )
        return Verdict("unproven", reason, more_time() + more_data(curve))
    return _varied(by_name, train, held, curve)


def would_see(line: Line) -> bool:
    """Whether a model half-way from the sketch to held-out items would have stood out from the sketch."""
    if line.floor is None or line.sketch is None:
        return False
    return better(line.made, line.sketch)[1] < better(line.floor, line.sketch)[0] / 2


def _copies(by_name: Mapping[str, Line]) -> Verdict | None:
    copies, test = by_name.get("copies"), by_name.get("copy p-value")
    if copies is None or test is None or test.made.value >= COPY_P:
        return None
    reason = say("It copies its training data: {note}.", note=copies.made.note)
    cure = say("See the pairs in the report; add items, remove doubles, or train for less time.")
    return Verdict("bubble", reason, cure)


def _disobeys(lines: Sequence[Line]) -> Verdict | None:
    for line in lines:
        if line.question == "obeys" and line.floor and line.made.high < OBEY_SHARE * line.floor.value:
            reason = say(
                "It does not do as asked: {name} {made}, where held-out items have {floor}.",
                name=say(line.made.name), made=percent(line.made.value), floor=percent(line.floor.value),
            )  # fmt: skip
            return Verdict("bubble", reason, more_time())
    return None


def _sameness(by_name: Mapping[str, Line]) -> Verdict | None:
    for name in ("recall", "distinct three-grams"):
        line, twins = by_name.get(name), by_name.get("distinctness")
        if line and line.floor and line.made.high < RECALL_SHARE * line.floor.value:
            numbers = {"name": say(name), "made": percent(line.made.value), "floor": percent(line.floor.value)}
            if name == "recall" and (twins is None or twins.made.high > RECALL_SHARE):
                reason = say("It reaches too little of your data: {name} {made}, where held-out items have {floor}.", **numbers)
            else:
                reason = say("It makes the same few things: {name} {made}, where held-out items have {floor}.", **numbers)
            cure = say("Train for longer, or again with another seed; if it stays, add items.")
            return Verdict("bubble", reason, cure)
    return None


def _varied(by_name: Mapping[str, Line], train: int, held: int, curve: Sequence[Point]) -> Verdict:
    """Real enough; gold if varied too: better than the sketch, or level with held-out items, which is the most."""
    recall, coverage = by_name.get("recall"), by_name.get("coverage")
    if coverage is None or coverage.floor is None or coverage.sketch is None or recall is None or recall.floor is None:
        return _too_few(train, held)
    if recall.made.value < RECALL_SHARE * recall.floor.value:
        reason = say(
            "Real enough, but its recall of {made} is under half of held-out's {floor}.",
            made=percent(recall.made.value), floor=percent(recall.floor.value),
        )  # fmt: skip
        return Verdict("unproven", reason, more_time() + more_data(curve))
    reach = {"made": percent(coverage.made.value), "floor": percent(coverage.floor.value)}
    if beats(coverage.made, coverage.sketch) < 1 and beats(coverage.made, coverage.floor) < 0:
        reason = say("Real enough, but covers {made} of your data, where held-out items cover {floor}.", **reach)
        return Verdict("unproven", reason, more_time() + more_data(curve))
    reason = say("Beats the sketch on real, and covers {made} of your data (held-out items: {floor}).", **reach)
    if "copies" in by_name:
        reason += " " + say("Copies: {note}.", note=by_name["copies"].made.note)
    return Verdict("gold", reason, say("Make more of it; more training time may still sharpen it.") + more_data(curve))


def percent(value: float) -> str:
    """A share in percent."""
    return f"{100 * value:.0f} %"


def more_time() -> str:
    """The advice that costs least."""
    return say("Run the same command again with four times the minutes; it goes on from where it is.")


def more_data(curve: Sequence[Point]) -> str:
    """What the learning curve says about more items, as a sentence to append; empty without a curve."""
    if len(curve) < 2 or curve[-2].value <= 0:
        return ""
    gain = 1 - curve[-1].value / curve[-2].value
    if gain < HELPS:
        return " " + say("More data of the same kind would hardly help.")
    n = rounded(curve[-1].n)
    if curve[-1].unit == "tokens":
        return " " + say("Twice as much of the same kind, {n} tokens more, would help too.", n=n)
    return " " + say("About {n} more items like these would help too.", n=n)


def more_items(headlines: Iterable[Line], train: int, held: int) -> str:
    """How many more items would make the difference to the sketch certain; empty where that is out of reach."""
    wanted = math.inf
    for line in headlines:
        gap, margin = better(line.made, line.sketch) if line.sketch else (0.0, 0.0)
        if gap > 0:
            wanted = min(wanted, (train + held) * (margin / gap) ** 2)
    more = wanted - train - held
    return say("About {n} more items would settle it.", n=rounded(more)) if 0 < more < 20 * (train + held) else ""


def _too_few(train: int, held: int, pieces: int = 0) -> Verdict:
    more = max(10, math.ceil(HELD_LEAST / HELD_SHARE) - train - held)
    reason = say("Only {held} items are held out, too few to judge by.", held=held)
    if pieces:
        reason = say("The {n} pieces held out come from {held} files, too few to judge by.", n=pieces, held=held)
    return Verdict("unproven", reason, say("About {n} more items would settle it.", n=rounded(more)))


def rounded(n: float) -> int:
    """Two leading digits: nobody should read more into an estimate."""
    digits = max(0, len(str(int(n))) - 2)
    return int(round(n / 10**digits) * 10**digits)


def by_class(lines: Sequence[Line], asked: Cond, names: Sequence[str]) -> list[Slice]:
    """The shares that name their misses in ``worst_ids``, for the items of each class, worst first."""
    found = []
    labels = asked["class"].tolist() if "class" in asked and names else []
    for line in lines:
        score = line.made
        if score.name not in ("precision", "read as asked", "keeps the asked form"):
            continue
        seen = labels[: line_n(score)]
        for label, name in enumerate(names):
            n = seen.count(label)
            missed = sum(1 for i in score.worst_ids if i < len(seen) and seen[i] == label)
            if n:
                found.append(Slice(name, score.name, *share(n - missed, n), n))
    return sorted(found, key=lambda s: s.value)


def line_n(score: Score) -> int | None:
    """How many made items a score looked at, from its note; None is all."""
    first = score.note.removeprefix("n = ").split(",")[0]
    return int(first) if first.isdigit() else None


def costs(card: Mapping[str, Any], each: Cost) -> list[Line]:
    """Minutes and energy of training, size of the model, time and energy of one item; the notes say what was measured."""
    how = say("measured") if each.how == "measured" else say("estimated from CPU time at 8 W a core")

    def one(name: str, value: float, note: str) -> Line:
        return Line("costs", Score(name, value, value, value, "none", note=note))

    return [
        one("training minutes", float(card.get("minutes", 0.0)), say("measured")),
        one("training Wh", float(card.get("energy_wh", 0.0)), how),
        one("parameters", float(card.get("parameters", 0)), say("numbers in the model")),
        one("ms per item", 1000 * each.seconds, say("measured, in batches")),
        one("Wh per item", each.watt_hours, how),
    ]


def evaluate(model: str, n: int | None = None, seed: int = 0, gate: bool = False, runs: str = "", on: On = ignore) -> Report:
    """Judge a model and write ``report/report.json`` and ``report/report.html`` into its run.

    Args:
        model: A run's folder or its name.
        n: Items to make; as many as the metrics can use if None.
        seed: Seed of the judgement.
        gate: Raise on anything but gold.
        runs: Folder of runs; MINTAGE_RUNS or ``runs`` if empty.
        on: Listener of progress.

    Raises:
        DataError: The data that it was trained on is gone or changed, so there is nothing to judge by.
        GateError: ``gate`` was asked for and the verdict is not gold.
    """
    on(Event("step", "evaluate", "", {"phase": "drawing"}))
    report = assess(bench_of(model, n, seed, runs), on=on)
    if gate and report.verdict.word != "gold":
        raise GateError(f"{say(report.verdict.word.upper())}. {report.verdict.reason} {report.verdict.next_step}")
    return report


def bench_of(model: str, n: int | None = None, seed: int = 0, runs: str = "", seconds: float = SECONDS) -> Bench:
    """A run on the bench, with the data it was trained on; drawing takes about ``seconds`` at most."""
    loaded = load(model, runs)
    recipe = read_recipe(loaded.run.recipe)
    return Bench(loaded, recipe, reopen(recipe, loaded.codec, recipe.options), n, seed, seconds)


def assess(bench: Bench, curve: Sequence[Point] | None = None, on: On = ignore) -> Report:
    """Judge what lies on the bench and write report and page; ``curve`` where the learning curve is known already."""
    from mintage.verbs import report as page
    from mintage.verbs.exhibit import Curator

    loaded, recipe = bench.loaded, bench.recipe
    made, asked, each = bench.drawn
    begin = time.perf_counter() - each.seconds * len(made)
    lines, refused = judge(bench.made, bench.floor, bench.sketch, bench.held)
    lines += costs(loaded.card, each)
    train, curve = bench.items, bench.curve() if curve is None else curve
    names = recipe.cond["class"].channels if "class" in recipe.cond else ()
    path = loaded.run.report / "report.html"
    report = Report(
        verdict=decide(lines, train, bench.held, curve, bench.files),
        lines=tuple(lines),
        refused=refused,
        slices=tuple(by_class(lines, asked, names)),
        curve=tuple(curve),
        train=train,
        held=bench.held,
        made=len(made),
        seed=bench.seed,
        versions={"mintage": mintage.__version__, "torch": torch.__version__, "features": str(VERSION)},
        seconds=time.perf_counter() - begin,
        path=str(path),
    )
    write_json(path.with_suffix(".json"), to_json(report))
    copied = report.line("copies")
    page.write(path, report, Curator(bench, copied.made.worst_ids if copied else ()).exhibit())
    on(Event("done", "evaluate", say("Report: {path}", path=path), {"path": str(path), "word": report.verdict.word}))
    return report
