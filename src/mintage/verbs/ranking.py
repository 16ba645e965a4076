"""Who wins a comparison: question by question where intervals separate, and one sentence about which family to take.

A number decides nothing alone: one contestant is ahead of another on a question when it is better beyond the joint
interval on at least one number of it and worse on none. Texts are told apart by what they gain over the same sketch on
the same passages, which is far sharper than two averages. The intervals are those of judging: how much another training
seed would move a number is not in them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len

from mintage.core.spec import Score
from mintage.core.words import say
from mintage.metrics.likelihood import GAIN
from mintage.verbs.evaluate import HEADLINES, Line, Report, beats, percent
from mintage.verbs.plots import number

DECIDE = {
    "real": (GAIN, *HEADLINES),
    "varied": ("recall", "coverage"),
    "its own": ("copies",),
    "obeys": ("read as asked", "caption ranked first of ten", "keeps the asked form"),
}
LIKELIHOODS = ("bits per byte", "nats per token")
COST = "ms per item"
CHEAPER = 1.5  # times as cheap an item must be before its cost is called lower: timings jitter
SHARES = {"two-sample accuracy", "recall", "coverage", "copies", *DECIDE["obeys"]}
COLUMNS = {
    "real": (*LIKELIHOODS, GAIN, *HEADLINES),
    "varied": ("recall", "coverage"),
    "its own": ("copies",),
    "obeys": DECIDE["obeys"],
    "costs": ("training minutes", COST, "parameters", "training Wh"),
}


HEADS = {  # short names for the heads of columns
    GAIN: "gained on the sketch",
    "training minutes": "minutes trained",
    "training Wh": "Wh of training",
    "ms per item": "ms each",
    "two-sample accuracy": "told apart",
    "caption ranked first of ten": "caption fits best",
    "keeps the asked form": "keeps the form",
}


@dataclass(frozen=True)
class Entry:
    """One contestant with its judgement.

    Attributes:
        label: What it is called in the table.
        family: Its family.
        run: Its run's folder.
        report: Its judgement; all were judged by the same judge on equally many items.
    """

    label: str
    family: str
    run: Path
    report: Report


@dataclass(frozen=True)
class Outcome:
    """What a comparison came to.

    Attributes:
        winner: Label of the family to take; empty where it is too close to call or none is worth it.
        close: Labels between which it is too close to call.
        by_question: Question → label that is ahead of all others on it; empty for a tie.
        sentence: Which family for this data, and why.
        of_default: Whether the plan's own choice won.
    """

    winner: str
    close: tuple[str, ...]
    by_question: dict[str, str]
    sentence: str
    of_default: str


def ahead(a: Report, b: Report, question: str) -> bool:
    """Whether a is better than b on a question, beyond the intervals."""
    pairs = [(a.line(name), b.line(name)) for name in DECIDE[question]]
    signs = [beats(x.made, y.made) for x, y in pairs if x and y]
    if question == "real" and a.line(GAIN) and b.line(GAIN):
        signs = signs[:1]  # likelihood decides for tokens
    return bool(signs) and max(signs) == 1 and min(signs) >= 0


def cheaper(a: Report, b: Report) -> bool:
    """Whether an item of a costs clearly less time."""
    mine, other = a.line(COST), b.line(COST)
    return mine is not None and other is not None and mine.made.value * CHEAPER < other.made.value


def winners(entries: Sequence[Entry]) -> dict[str, str]:
    """Who is ahead of all others, by question; empty for a tie. Questions that nobody was asked are left out."""

    def first(over: Callable[[Report, Report], bool]) -> str:
        for entry in entries:
            if all(over(entry.report, other.report) for other in entries if other is not entry):
                return entry.label
        return ""

    asked = [question for question in DECIDE if any(line_of(e.report, question) for e in entries)]
    found = {question: first(lambda a, b, q=question: ahead(a, b, q)) for question in asked}  # type: ignore[misc]
    return {**found, "costs": first(cheaper)}


def line_of(report: Report, question: str) -> Line | None:
    """The number that stands for a question in a sentence."""
    lines = (report.line(name) for name in COLUMNS[question])
    return next((line for line in lines if line), None)


def leads(entry: Entry, entries: Sequence[Entry], name: str) -> bool:
    """Whether an entry is better than all others on one number beyond the intervals."""
    others = [e.report for e in entries if e is not entry]
    if name == COST:
        return all(cheaper(entry.report, other) for other in others)
    mine, theirs = entry.report.line(name), [line for other in others if (line := other.line(name))]
    counts = any(name in names for names in DECIDE.values()) or name in LIKELIHOODS
    return bool(mine and theirs and counts) and all(beats(mine.made, line.made) == 1 for line in theirs if mine)


def measure(report: Report) -> Line | None:
    """What stands for "real" in a drawing: for tokens what was gained over the sketch, which scores 0."""
    gain = report.line(GAIN)
    return Line("real", gain.made, None, Score(GAIN, 0.0, 0.0, 0.0, "higher")) if gain else line_of(report, "real")


def outcome(entries: Sequence[Entry], default: str, minutes: float) -> Outcome:
    """Rank by the questions in their order, among those that are not bubbles if there are any."""
    standing = [e for e in entries if e.report.verdict.word != "bubble"]
    left, lost, why = list(standing or entries), list[Entry](), ""
    for question in DECIDE:
        kept = [e for e in left if not any(ahead(o.report, e.report, question) for o in left if o is not e)]
        if kept and len(kept) < len(left):
            left, lost, why = kept, [e for e in left if e not in kept], question
        if len(left) == 1:
            break
    by_question, labels = winners(entries), tuple(e.label for e in left)
    winner = labels[0] if len(left) == 1 and standing else ""
    if not standing:
        sentence = say("No family is worth it yet after {minutes} min: every one is a bubble.", minutes=f"{minutes:g}")
        sentence += " " + (
            say("The least far from it is {label}.", label=labels[0])
            if len(left) == 1
            else say("{labels} are equally far from it.", labels=joined(labels))
        )
    elif winner:
        sentence = _won(left[0], lost, why, minutes)
    else:
        sentence = _close(left, minutes)
    close = () if winner or not standing else labels
    return Outcome(winner, close, by_question, sentence, of_default(default, entries, winner, close))


def cell(report: Report, name: str, part: str = "made") -> Score | None:
    """A number of a report by its name: the model's, ``floor``'s or ``sketch``'s."""
    line = report.line(name)
    found: Score | None = getattr(line, part) if line else None
    return found


def spelled(value: float, name: str) -> str:
    """A number as the table has it: shares in percent, counts short."""
    if name in SHARES:
        return percent(value)
    if name == "parameters" and value >= 10_000:
        return f"{value / 1e6:.1f} M" if value >= 1e6 else f"{value / 1e3:.0f} k"
    return number(value)


def columns(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """The numbers that any entry has, by question."""
    there = {q: [n for n in names if any(cell(e.report, n) for e in entries)] for q, names in COLUMNS.items()}
    return {question: names for question, names in there.items() if names}


def grid(entries: Sequence[Entry]) -> list[str]:
    """The table as lines of text: each number with half of its 95 % interval, and what held-out items and the sketch score."""
    names = [name for own in columns(entries).values() for name in own]
    rows = [["", say("verdict"), *(say(HEADS.get(name, name)) for name in names)]]
    whole = [(e.label, say(e.report.verdict.word.capitalize()), e.report, "made") for e in entries]
    first = entries[0].report
    for label, word, report, part in (*whole, (say("held out"), "", first, "floor"), (say("sketch"), "", first, "sketch")):
        rows.append([label, word, *(within(cell(report, name, part), name) for name in names)])
    wide = [max(cell_len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(text + " " * (w - cell_len(text)) for text, w in zip(row, wide, strict=True)).rstrip() for row in rows]


def within(score: Score | None, name: str) -> str:
    """A number ± half of its interval."""
    if score is None:
        return ""
    half = (score.high - score.low) / 2
    return spelled(score.value, name) + (f" ± {spelled(half, name)}" if half else "")


def joined(labels: Sequence[str]) -> str:
    """Names in a sentence."""
    return say(", ").join(labels[:-1]) + say(" and ") + labels[-1] if len(labels) > 1 else "".join(labels)


def _won(best: Entry, lost: Sequence[Entry], why: str, minutes: float) -> str:
    """One sentence: who, on which question, and who was level until then."""
    head = {"label": best.label, "minutes": f"{minutes:g}"}
    if not why:
        return say("Take {label} for this data at {minutes} min: all others are bubbles.", **head)
    line = line_of(best.report, why)
    name = line.made.name if line else ""
    own = f"{say(name)} {spelled(line.made.value, name)}" if line else "–"
    rest = say(", ").join(f"{o.label} {spelled(score.value, name)}" for o in lost if (score := cell(o.report, name)))
    reasons = {
        "real": say("nothing else here comes as near to the real ({own}; {rest}).", own=own, rest=rest),
        "varied": say("as real as the best, and more varied ({own}; {rest}).", own=own, rest=rest),
        "its own": say("level on the rest, and it copies less ({own}; {rest}).", own=own, rest=rest),
        "obeys": say("level on the rest, and it does as asked more often ({own}; {rest}).", own=own, rest=rest),
    }
    return say("Take {label} for this data at {minutes} min: {why}", why=reasons[why], **head)


def _close(left: Sequence[Entry], minutes: float) -> str:
    """One sentence for a tie, with the cheapest named."""
    labels = joined([e.label for e in left])
    sentence = say(
        "{labels} are level, too close to call: no question tells them apart at {minutes} min.",
        labels=labels,
        minutes=f"{minutes:g}",
    )
    priced = sorted((line.made.value, e.label) for e in left if (line := e.report.line(COST)))
    if len(priced) > 1 and priced[0][0] * CHEAPER < priced[1][0]:
        (ms, label), (more, other) = priced[:2]
        numbers = {"ms": number(ms), "more": number(more)}
        sentence += " " + say("{label} makes an item in {ms} ms, {other} in {more}.", label=label, other=other, **numbers)
    return sentence


def of_default(default: str, entries: Sequence[Entry], winner: str, close: Sequence[str]) -> str:
    """Whether the plan's own choice of family held."""
    own = next((e.label for e in entries if e.family == default), "")
    if not own:
        return say("The plan's default here, {default}, did not take part.", default=default)
    if own == winner:
        return say("It is also what the plan chooses here by itself.")
    if own in close:
        return say("The plan's default here, {default}, is among them.", default=default)
    if winner or close:
        return say("The plan's default here, {default}, did not win: name the family with --family.", default=default)
    return say("The plan's default here is {default}.", default=default)
