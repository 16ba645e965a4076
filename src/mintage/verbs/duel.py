"""The page of a comparison: who won, the same seeds of every family under each other, the table, quality beside cost.

It is built from the parts of the report, looks like it, and like it is one file without script and with nothing to load.
Made things come through the release gate at the level *view*; the held-out items above them are the person's own and stay
on the person's machine with the page.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from mintage.core.spec import Score
from mintage.core.store import write_bytes
from mintage.core.words import say
from mintage.verbs.evidence import Bench
from mintage.verbs.exhibit import Curator, Thing
from mintage.verbs.generate import draw
from mintage.verbs.plots import field, ranged
from mintage.verbs.ranking import COST, HEADS, Entry, cell, columns, leads, line_of, measure, spelled
from mintage.verbs.report import asks, document, passage, picture, section, table, tag

if TYPE_CHECKING:
    from mintage.verbs.compare import Comparison

COLUMNS_SHOWN = 12  # pictures in a row
TEXTS_SHOWN, LENGTH = 2, 220  # texts of a family, and their tokens


def write(path: Path, result: Comparison, benches: Sequence[Bench]) -> None:
    """Write the page."""
    write_bytes(path, render(result, rows(result, benches)).encode())


def order(result: Comparison) -> list[Entry]:
    """The winner first, bubbles last, the nearer to real before the farther."""

    def key(entry: Entry) -> tuple[bool, bool, float]:
        line = line_of(entry.report, "real")
        return entry.label != result.outcome.winner, entry.report.verdict.word == "bubble", line.made.value if line else 0.0

    return sorted(result.entries, key=key)


def rows(result: Comparison, benches: Sequence[Bench]) -> list[tuple[str, list[Thing]]]:
    """Name and things of each row: held-out items, every family in the table's order, the sketch; a column is one request."""
    by_label = {entry.label: bench for entry, bench in zip(result.entries, benches, strict=True)}
    first, at = benches[0], chosen(benches[0])
    curator = Curator(first, ())
    words = curator.words(first.given, len(first.test))
    named = [words[i] for i in at]
    real = first.loaded.codec.decode(first.test[at], first.recipe.target)
    found = [(say("held out"), [Thing(media.content, word) for media, word in zip(real, named, strict=True)])]
    for entry in order(result):
        found.append((entry.label, Curator(by_label[entry.label], ()).row(drawn(by_label[entry.label], at), named)))
    return [*found, (say("sketch"), curator.row(drawn(first, at, sketch=True), named))]


def chosen(bench: Bench) -> list[int]:
    """Which requests are shown, by a rule and not by taste: the first ones, or the first of each class where there are classes."""
    most = min(TEXTS_SHOWN if bench.tokens else COLUMNS_SHOWN, len(bench.drawn[0]), len(bench.test))
    labels = bench.given["class"][: len(bench.drawn[0])].tolist() if "class" in bench.given else []
    classes = sorted(set(labels))
    if bench.tokens or not classes or len(classes) > most:
        return list(range(most))
    return [i for c in classes for i in [i for i, own in enumerate(labels) if own == c][: most // len(classes)]]


def drawn(bench: Bench, at: Sequence[int], sketch: bool = False) -> Tensor:
    """What was made for these requests; texts again at a length that one can read."""
    if not bench.tokens:
        return (bench.sketch.made if sketch else bench.drawn[0])[list(at)]
    given = {name: values[list(at)] for name, values in bench.drawn[1].items()}
    return draw(bench.loaded, len(at), bench.seed, given, sketch, {"length": LENGTH}, [bench.seed + i for i in at])


def render(result: Comparison, shown: Sequence[tuple[str, Sequence[Thing]]]) -> str:
    """The whole page as HTML."""
    title = f"{heading(result)} · {Path(result.data).name} · {say('compared')}"
    body = top(result) + works(shown) + numbers(result) + field_of(result) + over_minutes(result) + aside(result) + how(result)
    limits = say("Everything shown here as made was made by AI. A good verdict is no promise of privacy, and no opinion on taste.")
    return document(title, body + tag("footer", escape(limits)), "wide")


def heading(result: Comparison) -> str:
    """The answer in a word or two."""
    if result.outcome.winner:
        return result.outcome.winner
    return say("Too close to call") if result.outcome.close else say("None yet")


def top(result: Comparison) -> str:
    """Who won, why, and who is ahead on each question."""
    outcome = result.outcome
    winner = next((e for e in result.entries if e.label == outcome.winner), None)
    kind = f"verdict {winner.report.verdict.word}" if winner else "verdict"
    name = f"{Path(result.data).name} · {say('{minutes} min for each family', minutes=f'{result.minutes:g}')}"
    parts = [tag("h1", escape(heading(result))), tag("p", escape(outcome.sentence), kind="reason")]
    parts += [tag("p", escape(line), kind="next") for line in (outcome.of_default, result.mixture) if line]
    words = {
        "real": say("nearest to real"),
        "varied": say("most varied"),
        "its own": say("copies least"),
        "obeys": say("does as asked most often"),
        "costs": say("makes an item in the least time"),
    }
    items = [
        tag(
            "li",
            tag("b", escape(outcome.by_question[q] or say("tie")), kind="" if outcome.by_question[q] else "soft")
            + tag("span", escape(text)),
        )
        for q, text in words.items()
        if q in outcome.by_question
    ]
    verdict = tag("section", "".join(parts), kind=kind)
    return tag("header", tag("div", escape(name), kind="run") + verdict) + tag("ul", "".join(items), kind="glance")


def works(shown: Sequence[tuple[str, Sequence[Thing]]]) -> str:
    """The rows; what stands in one column was asked alike, with the same seed."""
    lanes = []
    for i, (name, things) in enumerate(shown):
        if any(isinstance(thing.content, str) for thing in things):
            plain = "".join(passage(Thing(thing.content, "" if i else thing.words)) for thing in things)
        else:
            alt = name + ":" if i == 0 else say("made by {label}:", label=name)
            plain = "".join(picture(t if i == 0 else replace(t, words=""), f"{alt} {t.words}".strip(" :")) for t in things)
        lanes.append(tag("div", tag("h3", escape(name)) + tag("div", plain, kind="strip"), kind="lane"))
    words = say("Not chosen: the first ones, or the first of each class. A column asks all for the same, with the same seed.")
    return section(say("What each made"), words, "".join(lanes))


def numbers(result: Comparison) -> str:
    """The table: a row for each family, the held-out items and the sketch; bold is ahead of all others."""
    entries = order(result)
    groups = columns(entries)
    over = "".join(tag("th", escape(asks(q)), scope="colgroup", colspan=str(len(names))) for q, names in groups.items())
    names = [name for own in groups.values() for name in own]
    heads = "".join(tag("th", escape(say(HEADS.get(name, name))), scope="col") for name in names)
    head = tag("thead", tag("tr", tag("td", "") + over, kind="over") + tag("tr", tag("td", "") + heads))
    body = []
    for entry in entries:
        path = escape(os.path.relpath(entry.report.path, Path(result.path).parent), quote=True)
        word = tag("small", escape(say(entry.report.verdict.word.capitalize())))
        first = f'<th scope="row"><a href="{path}">{escape(entry.label)}</a>{word}</th>'
        cells = [value(cell(entry.report, name), name, leads(entry, entries, name)) for name in names]
        body.append(tag("tr", first + "".join(cells)))
    for label, part in ((say("held out"), "floor"), (say("sketch"), "sketch")):
        cells = [value(cell(entries[0].report, name, part), name, False) for name in names]
        body.append(tag("tr", f'<th scope="row">{escape(label)}</th>' + "".join(cells), kind="beside"))
    note = say(
        "Bold: ahead of all others beyond the 95 % intervals of judging; another training seed may move a number further. "
        "All were judged by the same judge on {made} items each and {held} held out.",
        made=f"{entries[0].report.made:,}", held=f"{entries[0].report.held:,}",
    )  # fmt: skip
    whole = tag("div", tag("table", head + tag("tbody", "".join(body)), kind="contest"), kind="scroll")
    return section(say("Five questions"), note, whole)


def value(score: Score | None, name: str, bold: bool) -> str:
    """A cell: the number, its interval below; bold where it is ahead of all others."""
    if score is None:
        return tag("td", "")
    text = spelled(score.value, name)
    main = tag("b", text) if bold else text
    if score.low == score.high:
        return tag("td", main)
    return tag("td", main + tag("small", f"{spelled(score.low, name)} … {spelled(score.high, name)}"))


def field_of(result: Comparison) -> str:
    """Quality beside cost."""
    rivals = {}
    for entry in order(result):
        line, cost = measure(entry.report), entry.report.line(COST)
        if line and cost:
            rivals[entry.label] = [(cost.made.value, line.made)]
            beside = line
    if len(rivals) < 2:
        return ""
    name = say(beside.made.name)
    words = say("{name} by milliseconds of one item: up is nearer to real, left is cheaper.", name=name)
    drawn = field(rivals, beside.floor, beside.sketch, say("milliseconds of one item"), words)
    return section(say("Quality beside cost"), words, drawn)


def over_minutes(result: Comparison) -> str:
    """The same at other budgets, if it was compared at some."""
    if len(result.budgets) < 2:
        return ""
    labels = [entry.label for entry in order(result)]
    series = {label: [(float(minutes), own[label]) for minutes, own in result.budgets.items() if label in own] for label in labels}
    series = {label: points for label, points in series.items() if points}
    if not series:
        return ""
    line = next(line for entry in result.entries if (line := measure(entry.report)))
    words = say(
        "{name} by minutes of training. Every point is a training of its own from nothing, not one that went on.",
        name=say(line.made.name),
    )  # fmt: skip
    head = ["", *(say("{minutes} min", minutes=minutes) for minutes in result.budgets)]
    cells = [[escape(label), *(ranged(own.get(label)) for own in result.budgets.values())] for label in series]
    drawing = field(series, line.floor, line.sketch, say("minutes of training"), words)
    return section(say("Over the minutes"), words, drawing + table(head, cells))


def aside(result: Comparison) -> str:
    """Who could not take part, and what the verdicts say."""
    reasons = [(escape(e.label), f"{escape(e.report.verdict.reason)} {escape(e.report.verdict.next_step)}") for e in order(result)]
    told = section(say("What the verdicts say"), "", table(["", ""], reasons, "facts"))
    left = [(escape(name), escape(reason)) for name, reason in result.refused.items()]
    rest = table(["", ""], left, "facts") if left else ""
    return told + section(say("Left out"), say("Families that cannot model this data."), rest)


def how(result: Comparison) -> str:
    """What was the same for all, and what it cost."""
    report = result.entries[0].report
    facts = [
        (say("data"), result.data),
        (say("minutes each"), f"{result.minutes:g}"),
        (say("made for judging"), f"{report.made:,}"),
        (say("held out"), f"{report.held:,}"),
        (say("in training"), f"{report.train:,}"),
        (say("seed"), str(result.seed)),
        *report.versions.items(),
    ]
    words = say("Each family was trained from nothing for the same minutes on this machine; test items only judge.")
    return section(say("How it was compared"), words, table(["", ""], [(escape(a), escape(b)) for a, b in facts], "facts"))
