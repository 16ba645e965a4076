"""The page that one would show a client: verdict first, then the work, then the five questions, each beside its floor.

One self-contained HTML file without script and without anything loaded from elsewhere; it prints, reads without
pictures, and is in the language of the person who asked for it. The look is ink on paper with one gold accent, kept for
the verdict; the style sheet lies beside this file.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

from PIL import Image

from mintage.core.spec import Score
from mintage.core.store import write_bytes
from mintage.core.words import language, say
from mintage.metrics.likelihood import GAIN
from mintage.verbs.evaluate import QUESTIONS, Line, Report, Slice, percent
from mintage.verbs.exhibit import Exhibit, Thing
from mintage.verbs.plots import curves, interval, number, ranged
from mintage.verbs.sheet import Sheet, drawn

POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
CLASSES = 24  # shown; the report.json holds all
SMALL = 64  # pixels; smaller pictures are shown as the squares they are


def asks(question: str) -> str:
    """A question in full."""
    return {
        "real": say("Is it real?"),
        "varied": say("Is it varied?"),
        "its own": say("Is it its own?"),
        "obeys": say("Does it obey?"),
        "costs": say("What does it cost?"),
    }[question]


def hint(name: str) -> str:
    """What a number means, in one plain sentence; empty where its name says it."""
    if name.endswith("(plain view)"):
        return say("The same on coarse pixels and random filters, which nobody trained.")
    if name.endswith(" agreement"):
        return say("1 where made and held-out sounds have the same distribution of it.")
    return {
        "kernel distance": say("How far what it makes lies from your held-out items; 0 is as real as they are."),
        "two-sample accuracy": say("How often a classifier tells made from real; 50 % is guessing."),
        "motion distance": say("How far the way it moves lies from that of your held-out clips; 0 is as real as they are."),
        "frozen clips": say("Share in which less moves than in nearly all real clips."),
        "flickering clips": say("Share that jerks from frame to frame more than nearly all real clips."),
        "Fréchet distance": say("Distance of mean and spread; means something only beside the floor."),
        "nats per character": say("How surprised it is by your held-out text; lower is better."),
        "bits per byte": say("The same for any alphabet."),
        "nats per token": say("How surprised it is by your held-out items, token by token; lower is better."),
        "nats per event": say("The same for each note, or whatever one event is, however many tokens say it."),
        GAIN: say("Above 0 it predicts what was held out better than the sketch, per character or token."),
        "pitch-class overlap": say("How much of the use of the twelve notes it shares with held-out tunes."),
        "pitch classes a bar": say("How many of the twelve notes a bar uses."),
        "interval overlap": say("How much of the steps from note to note it shares with held-out tunes."),
        "duration overlap": say("How much of the lengths of notes it shares with held-out tunes."),
        "bar self-similarity": say("How alike a bar is to one of the eight before it."),
        "tonal distance between voices": say("How far apart two voices are in the space of keys; low is consonant."),
        "empty bars": say("Share of bars in which a voice is silent."),
        "well-formed": say("Share that was said without a slip; slips are left out of the file."),
        "precision": say("Share of made items that lie among real ones."),
        "recall": say("Share of your held-out items that it could have made."),
        "density": say("How deep among real items the made ones lie."),
        "coverage": say("Share of your held-out items that have a made one close by."),
        "variety": say("How far made items lie from each other, as a share of real ones."),
        "distinctness": say("The same for the nearest other item: low means repeats."),
        "distinct three-grams": say("Share of all runs of three tokens that are different."),
        "repeated eight-grams": say("Share of a text that it has said before in the same text."),
        "column shapes": say("How alike each column alone is to held-out rows; independent columns do well here."),
        "pair trends": say("How alike each pair of columns is to held-out rows."),
        "train on made, test on real": say("What a learner taught with made rows says of real ones."),
        "nearer to training than to test rows": say("Half is what chance gives; much more would be a memory."),
        "distance to the closest record": say("Median distance to the nearest training row, 0 … 1."),
        "copies": say("Share of made items that are training items over again."),
        "copy p-value": say("How likely that many copies would be if it copied no more than real items look alike."),
        "longest verbatim passage": say("Characters that stand word for word in the training text."),
        "new 12-character passages": say("Share of its text that is nowhere in the training text."),
        "read as asked": say("How often a classifier reads what was asked for."),
        "caption ranked first of ten": say("How often the caption asked for fits better than nine others; 10 % is chance."),
        "keeps the asked form": say("Share with the number and length of lines of the form asked for."),
    }.get(name, "")


def tag(name: str, inner: str, **attributes: str) -> str:
    """An element; ``kind`` is its class."""
    given = "".join(f' {k.replace("kind", "class")}="{escape(v, quote=True)}"' for k, v in attributes.items() if v)
    return f"<{name}{given}>{inner}</{name}>"


def picture(thing: Thing, alt: str) -> str:
    """A figure with the picture inside the page, and its player; an empty frame for what was held back."""
    if thing.content is None:
        return tag("figure", tag("div", "", kind="empty", role="img", **{"aria-label": thing.words}))
    image = Image.fromarray(thing.content)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    mime, data = "image/png", buffer.getvalue()
    words = escape(f"{alt} {thing.words}".strip(), quote=True)
    caption = tag("figcaption", escape(thing.words)) if thing.words else ""
    sound = ""
    if thing.player and thing.player[0].startswith("image/"):
        mime, data = thing.player  # it moves by itself
    elif thing.player and thing.player[0].startswith("video/"):
        video = f'<video controls loop muted playsinline src="{inline(*thing.player)}" aria-label="{words}"></video>'
        return tag("figure", video + caption)
    elif thing.player:
        sound = f'<audio controls preload="none" src="{inline(*thing.player)}" aria-label="{words}"></audio>'
    small = ' class="small"' if max(image.size) < SMALL else ""
    return f'<figure><img{small} src="{inline(mime, data)}" alt="{words}">{sound}{caption}</figure>'


def inline(mime: str, data: bytes) -> str:
    """Bytes as an address inside the page."""
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def passage(thing: Thing) -> str:
    """A text with its longest passage of the training text underlined; an empty frame for what was held back."""
    if thing.content is None:
        return tag("figure", tag("div", escape(thing.words), kind="text"))
    text, (start, length) = str(thing.content), thing.mark
    before, same, after = text[:start], text[start : start + length], text[start + length :]
    marked = escape(before) + (tag("mark", escape(same)) if same else "") + escape(after)
    caption = tag("figcaption", escape(thing.words)) if thing.words else ""
    return tag("figure", tag("div", marked, kind="text") + caption)


def stop(thing: Thing) -> str:
    """A text on the way from one to another."""
    return tag("li", escape(thing.words if thing.content is None else str(thing.content)))


def verdict(report: Report, exhibit: Exhibit) -> str:
    """The word, the reason, the next step, and five numbers at a glance."""
    word = report.verdict.word
    parts = [
        tag("h1", escape(say(word.capitalize()))),
        tag("p", escape(report.verdict.reason), kind="reason"),
        tag("p", escape(report.verdict.next_step), kind="next"),
    ]
    top = tag("div", escape(exhibit.name), kind="run") + tag("section", "".join(parts), kind=f"verdict {word}")
    return tag("header", top) + glance(report)


def glance(report: Report) -> str:
    """One number for each question."""
    wanted = [
        ("two-sample accuracy", say("told from real by a classifier; 50 % is guessing"), percent),
        ("bits per byte", say("bits per byte of held-out text"), number),
        ("nats per token", say("nats per token of what was held out"), number),
        ("coverage", say("of your data covered"), percent),
        ("train on made, test on real", say("of what is learned from made rows holds for real ones"), number),
        ("copies", say("copies of training items"), percent),
        ("read as asked", say("read as asked"), percent),
        ("caption ranked first of ten", say("fit their caption best of ten"), percent),
        ("keeps the asked form", say("keep the asked form"), percent),
        ("ms per item", say("milliseconds each"), number),
    ]
    items = [
        tag("li", tag("b", escape(shown(line.made.value))) + tag("span", escape(words)))
        for name, words, shown in wanted
        if (line := report.line(name))
    ]
    return tag("ul", "".join(items), kind="glance")


def section(title: str, words: str, inner: str) -> str:
    """A part of the page; nothing if it holds nothing."""
    if not inner:
        return ""
    return tag("section", tag("h2", escape(title)) + (tag("p", escape(words), kind="soft") if words else "") + inner)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table; cells are HTML already."""
    top = tag("thead", tag("tr", "".join(tag("th", escape(cell), scope="col") for cell in head))) if any(head) else ""
    body = "".join(tag("tr", "".join(cell if cell.startswith("<td") else tag("td", cell) for cell in row)) for row in rows)
    return tag("div", tag("table", top + tag("tbody", body), kind=kind), kind="scroll")


def work(exhibit: Exhibit) -> str:
    """What it made, what the sketch made, what lies nearest, what lies between."""
    if exhibit.sheet is not None:
        return spread_out(exhibit.sheet)
    if any(isinstance(thing.content, str) for thing in (*exhibit.samples, *exhibit.sketches)):
        note = say("Not chosen: the first ones made. Underlined: the longest passage that stands in the training text.")
        made = section(say("What it made"), note, "".join(map(passage, exhibit.samples)))
        walks = "".join(tag("figure", tag("ol", "".join(map(stop, row)), kind="text")) for row in exhibit.between)
        between = section(say("From one to another"), say("From the first to the last along the line between their codes."), walks)
        sketches = section(say("What the sketch made"), baseline(), "".join(map(passage, exhibit.sketches)))
        return made + (between if exhibit.between else "") + sketches
    alt = say("made by the model:")
    wall = tag("div", "".join(picture(t, alt) for t in exhibit.samples), kind="wall") if exhibit.samples else ""
    low = say("made by the sketch:")
    lower = tag("div", "".join(picture(t, low) for t in exhibit.sketches), kind="wall") if exhibit.sketches else ""
    rows = "".join(tag("div", "".join(picture(t, alt) for t in row), kind="row") for row in exhibit.between)
    return (
        section(say("What it made"), say("Not chosen: the first ones made."), wall)
        + section(say("What the sketch made"), baseline(), lower)
        + section(say("Beside their nearest training items"), nearest(), pairs(exhibit.pairs))
        + section(say("From one to another"), say("Each row walks from one sample to another; a memory would jump."), rows)
    )


def spread_out(sheet: Sheet) -> str:
    """Rows, columns and what hangs together of a table."""
    bars, maps = drawn(sheet)
    made, sketch = (table(sheet.head, [[escape(cell) for cell in row] for row in body]) for body in (sheet.made, sheet.sketch))
    words = say("Broad and pale: held-out rows. Narrow and dark: made rows. Each bar is a group of neighbouring values.")
    held = say("How much each two columns have to do with each other (Cramér's V), made and held out; they should look alike.")
    return (
        section(say("What it made"), say("Not chosen: the first ones made."), made)
        + section(say("Column by column"), words, bars)
        + section(say("What hangs together"), held, maps)
        + section(say("What the sketch made"), baseline(), sketch)
    )


def baseline() -> str:
    """What the sketch is for."""
    return say("A baseline that fits in seconds. A model that does not beat it is worth nothing.")


def nearest() -> str:
    """How to read a pair."""
    return say("Left made, right the training item nearest to it. A ratio under 0.33 counts as a copy.")


def pairs(found: Sequence[tuple[Thing, Thing]]) -> str:
    """Two by two, the words of the first under both."""
    if not found:
        return ""
    if isinstance(found[0][0].content, str):
        return "".join(passage(made) for made, _ in found)
    shown = []
    for made, real in found:
        plain = replace(made, words="" if made.content is not None else made.words)
        both = picture(plain, say("made by the model:")) + picture(replace(real, words=""), real.words)
        shown.append(tag("div", tag("div", both) + tag("figcaption", escape(made.words)), kind="pair"))
    return tag("div", "".join(shown), kind="pairs")


def questions(report: Report) -> str:
    """The numbers, question by question."""
    parts = [key()]
    head = ["", say("this model"), say("held out"), say("sketch"), ""]
    for question in QUESTIONS:
        lines = [line for line in report.lines if line.question == question]
        if not lines:
            continue
        rows = [row(line) for line in lines]
        columns = head if question != "costs" else ["", "", ""]
        parts.append(tag("h3", escape(asks(question))) + table(columns, rows))
    missing = "".join(tag("li", escape(reason)) for name, reason in report.refused.items() if name not in APART)
    parts.append(tag("h3", escape(say("What could not be measured"))) + tag("ul", missing, kind="soft") if missing else "")
    return section(say("Five questions"), "", "".join(parts))


APART = ("compression", "likelihood", "repetition")  # for one medium alone: that they are missing for others is no news


def row(line: Line) -> list[str]:
    """Cells of one number."""
    words = hint(line.made.name) or line.made.note
    about = tag("div", escape(words), kind="soft") if words else ""
    name = f'<td class="name">{escape(say(line.made.name))}{about}</td>'
    if line.question == "costs":
        about = tag("small", escape(line.made.note))
        return [f'<td class="name">{escape(say(line.made.name))}</td>', number(line.made.value), about]
    plotted = any((line.floor, line.sketch)) and not level(line)
    cells = [ranged(score) for score in (line.made, line.floor, line.sketch)]
    return [name, *cells, f'<td class="plot">{interval(line) if plotted else ""}</td>']


def level(line: Line) -> bool:
    """Nothing to draw: all three are one and the same number."""
    scores: list[Score] = [s for s in (line.made, line.floor, line.sketch) if s is not None]
    return len({value for s in scores for value in (s.low, s.high)}) == 1


def key() -> str:
    """How to read the small drawings."""

    def drawing(inner: str) -> str:
        return f'<svg viewBox="0 0 26 16" aria-hidden="true">{inner}</svg>'

    made = drawing('<line class="whisker" x1="1" x2="25" y1="8" y2="8"/><circle class="made" cx="13" cy="8" r="4.5"/>')
    band = '<rect class="floor" x="3" y="0" width="20" height="16" rx="2"/>'
    floor = drawing(band + '<line class="floorline" x1="13" x2="13" y1="0" y2="16"/>')
    sketch = drawing('<path class="sketch" d="M13 3 l5 5 l-5 5 l-5 -5 z"/>')
    words = (
        (made, say("this model, with its 95 % interval")),
        (floor, say("held-out real items: the most that can be reached")),
        (sketch, say("the sketch: what must be beaten")),
    )
    return tag("div", "".join(tag("span", mark + escape(text)) for mark, text in words), kind="key")


def learning(report: Report, exhibit: Exhibit) -> str:
    """Loss by step, and what more data would do."""
    parts = []
    if exhibit.losses:
        drawn = "".join(
            tag("figure", tag("figcaption", escape(say(name))) + curves(line, say("{name} by training step", name=name)))
            for name, line in exhibit.losses.items()
        )
        ends = [(escape(say(n)), number(line[0][1]), number(line[-1][1])) for n, line in exhibit.losses.items()]
        parts.append(tag("h3", escape(say("Loss by step"))) + drawn + table(["", say("first"), say("last")], ends))
    if report.curve:
        line = [(float(p.n), p.value) for p in report.curve]
        rows = [(f"{p.n:,}", number(p.value)) for p in report.curve]
        words = say("How well a quarter, a half and all of your training data stand for your held-out data; lower is better.")
        parts.append(
            tag("h3", escape(say("How many more?"))) + tag("p", escape(words), kind="soft")
            + curves(line, words, dots=True) + table([say("training data"), ""], rows)
        )  # fmt: skip
    return section(say("Learning"), "", "".join(parts))


def slices(report: Report) -> str:
    """By class, the one with the worst number first."""
    scores = list(dict.fromkeys(s.score for s in report.slices))
    found = {(s.name, s.score): s for s in report.slices}
    rows = []
    for name in list(dict.fromkeys(s.name for s in report.slices))[:CLASSES]:
        own = [found.get((name, score)) for score in scores]
        rows.append((escape(name), *(bar(s) if s else "" for s in own)))
    words = say("Worst first; with few items of a class its numbers jump.")
    return section(say("By class"), words, table([say("class"), *map(say, scores)], rows) if rows else "")


def bar(s: Slice) -> str:
    """A share as a bar and in words."""
    drawn = f'<span class="bar" style="width:{7 * s.value:.2f}rem"></span>'
    return f"{drawn} {percent(s.value)} <small>{say('of {n}', n=s.n)}</small>"


def write(path: Path, report: Report, exhibit: Exhibit) -> None:
    """Write the page."""
    write_bytes(path, render(report, exhibit).encode())


def render(report: Report, exhibit: Exhibit) -> str:
    """The whole page as HTML."""
    title = f"{say(report.verdict.word.capitalize())} · {exhibit.name}"
    copied = section(say("Copies"), nearest() if exhibit.copies else "", pairs(exhibit.copies))
    versions = [(name, version) for name, version in report.versions.items()]
    on = say("{made} made, {held} held out, {train} in training", made=report.made, held=report.held, train=report.train)
    judged = [
        (say("judged on"), on),
        (say("seed of the judgement"), str(report.seed)),
        (say("seconds of judging"), number(report.seconds)),
    ]
    facts = table(["", ""], [(escape(a), escape(str(b))) for a, b in (*exhibit.facts, *judged, *versions)], "facts")
    limits = say("Everything shown here as made was made by AI. A good verdict is no promise of privacy, and no opinion on taste.")
    body = (
        verdict(report, exhibit) + work(exhibit) + copied + questions(report) + slices(report) + learning(report, exhibit)
        + section(say("How it was made"), "", facts)
        + tag("footer", escape(limits))
    )  # fmt: skip
    return document(title, body)


def document(title: str, body: str, kind: str = "") -> str:
    """A page from its body, with nothing to load; ``kind`` is the class of the whole."""
    style = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    page = tag("body", tag("main", body), kind=kind)
    return (
        f'<!doctype html>\n<html lang="{language()}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>{page}</html>\n"
    )
