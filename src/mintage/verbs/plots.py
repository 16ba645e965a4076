"""Small drawings for the report as inline SVG: an interval with its floor and sketch, curves, a field of rivals.

Every drawing carries a sentence for those who do not see it, and stands beside a table with the same numbers. Colours
come from the page's style sheet by class name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

from mintage.core.spec import Score
from mintage.core.words import say
from mintage.verbs.evaluate import Line

WIDE, TALL = 240, 30
CURVE_WIDE, CURVE_TALL = 640, 200
FIELD_WIDE, FIELD_TALL = 760, 320
LETTER = 16  # pixels between two names


def number(value: float) -> str:
    """Three significant digits, no exponent where a person would not write one."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    if size >= 0.001:
        return f"{value:.3f}" if size < 1 else f"{value:.2f}" if size < 10 else f"{value:.1f}"
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits} × 10" + str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def ranged(score: Score | None) -> str:
    """A value with its interval."""
    if score is None:
        return "–"
    if score.low == score.high:
        return number(score.value)
    return f"{number(score.value)} <small>{number(score.low)} … {number(score.high)}</small>"


def interval(line: Line) -> str:
    """Dot and whisker of what the model scores, over the band of held-out items and the tick of the sketch."""
    scores = [s for s in (line.made, line.floor, line.sketch) if s is not None]
    low, high = min(s.low for s in scores), max(s.high for s in scores)
    span = (high - low) or abs(high) or 1.0

    def x(value: float) -> str:
        return f"{8 + (WIDE - 16) * (value - low) / span:.1f}"

    mid, parts = TALL / 2, [f'<line class="axis" x1="8" x2="{WIDE - 8}" y1="{TALL / 2}" y2="{TALL / 2}"/>']
    if line.floor:
        width = max(2.0, (WIDE - 16) * (line.floor.high - line.floor.low) / span)
        parts.append(f'<rect class="floor" x="{x(line.floor.low)}" y="4" width="{width:.1f}" height="{TALL - 8}" rx="2"/>')
        parts.append(f'<line class="floorline" x1="{x(line.floor.value)}" x2="{x(line.floor.value)}" y1="4" y2="{TALL - 4}"/>')
    if line.sketch:
        at = x(line.sketch.value)
        parts.append(f'<path class="sketch" d="M{at} {mid - 5} l5 5 l-5 5 l-5 -5 z"/>')
    parts.append(f'<line class="whisker" x1="{x(line.made.low)}" x2="{x(line.made.high)}" y1="{mid}" y2="{mid}"/>')
    parts.append(f'<circle class="made" cx="{x(line.made.value)}" cy="{mid}" r="4.5"/>')
    told = [f"{say('this model')} {number(line.made.value)}"]
    told += [f"{say('held out')} {number(line.floor.value)}"] if line.floor else []
    told += [f"{say('sketch')} {number(line.sketch.value)}"] if line.sketch else []
    label = escape(f"{say(line.made.name)}: {', '.join(told)}", quote=True)
    return f'<svg class="interval" role="img" aria-label="{label}" viewBox="0 0 {WIDE} {TALL}">{"".join(parts)}</svg>'


def curves(line: Sequence[tuple[float, float]], label: str, dots: bool = False) -> str:
    """One curve with its axes; the y range leaves out the first few points, which dwarf the rest."""
    late = sorted(y for _, y in line[len(line) // 20 :])
    low, high = late[0], late[-1]
    left, width, height = 56, CURVE_WIDE - 66, CURVE_TALL - 40
    x_low, x_high = min(x for x, _ in line), max(x for x, _ in line)
    x_span, y_span = (x_high - x_low) or 1.0, (high - low) or abs(high) or 1.0

    def spot(x: float, y: float) -> tuple[float, float]:
        inside = min(max((y - low) / y_span, 0.0), 1.0)
        return left + width * (x - x_low) / x_span, 10 + height * (1 - inside)

    parts = []
    for value in (low, low + y_span / 2, low + y_span):
        _, y = spot(x_low, value)
        parts.append(f'<line class="grid" x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>')
    for value, anchor in ((x_low, "start"), (x_high, "end")):
        x, _ = spot(value, low)
        parts.append(f'<text x="{x:.1f}" y="{CURVE_TALL - 6}" text-anchor="{anchor}">{value:,.0f}</text>')
    spots = [spot(x, y) for x, y in line]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    parts.append(f'<polyline class="curve" points="{path}"/>')
    parts += [f'<circle class="made" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in spots if dots]
    told = escape(label, quote=True)
    return f'<svg class="curves" role="img" aria-label="{told}" viewBox="0 0 {CURVE_WIDE} {CURVE_TALL}">{"".join(parts)}</svg>'


def field(
    rivals: Mapping[str, Sequence[tuple[float, Score]]], floor: Score | None, sketch: Score | None, across: str, words: str
) -> str:
    """Rivals by a cost (logarithmic) and by a score with its interval (better is up); several points of one are joined.

    Args:
        rivals: Name → (cost, score) of each of its points.
        floor: What held-out items score, a band.
        sketch: What the sketch scores, a dashed line.
        across: What the cost is.
        words: What the drawing shows, for those who do not see it.
    """
    points = [(x, score) for own in rivals.values() for x, score in own]
    scores = [s for s in (*(score for _, score in points), floor) if s is not None]
    unit = max(floor.high - floor.low, 1e-9) if floor and points[0][1].better == "lower" else 0.0
    values = [bent(v, unit) for v in (*(v for s in scores for v in (s.low, s.high)), *([sketch.value] if sketch else []))]
    low, high, better_up = min(values), max(values), points[0][1].better == "higher"
    logs = [math.log10(max(x, 1e-9)) for x, _ in points]
    left, right, top, bottom = 64.0, FIELD_WIDE - 130.0, 14.0, FIELD_TALL - 44.0

    def at(x: float, value: float) -> tuple[float, float]:
        part = (math.log10(max(x, 1e-9)) - min(logs)) / (max(logs) - min(logs)) if max(logs) > min(logs) else 0.5
        share = (bent(value, unit) - low) / ((high - low) or 1.0)
        return left + 20 + (right - left - 110) * part, bottom - (bottom - top) * (share if better_up else 1 - share)

    ticks = [unit * math.sinh(t) if unit else t for t in (low, (low + high) / 2, high)]
    parts = _ground(at, ticks, floor, sketch, (left, right))
    for name, own in rivals.items():
        spots = [at(x, score.value) for x, score in own]
        if len(spots) > 1:
            parts.append(f'<polyline class="curve" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in spots)}"/>')
        for (x, y), (cost, score) in zip(spots, own, strict=True):
            ends = [at(cost, end)[1] for end in (score.low, score.high)]
            parts.append(f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{ends[0]:.1f}" y2="{ends[1]:.1f}"/>')
            parts.append(f'<circle class="made" cx="{x:.1f}" cy="{y:.1f}" r="5"><title>{escape(name)}</title></circle>')
    parts += _names([(*at(own[-1][0], own[-1][1].value), name) for name, own in rivals.items()])
    for x in sorted({min(x for x, _ in points), max(x for x, _ in points)}):
        parts.append(f'<text x="{at(x, low)[0]:.1f}" y="{FIELD_TALL - 24}" text-anchor="middle">{number(x)}</text>')
    parts.append(f'<text x="{(left + right) / 2:.0f}" y="{FIELD_TALL - 6}" text-anchor="middle">{escape(across)} →</text>')
    told = "; ".join(f"{name}: {', '.join(f'{number(x)}: {number(s.value)}' for x, s in own)}" for name, own in rivals.items())
    label = escape(f"{words} {told}", quote=True)
    return f'<svg class="field" role="img" aria-label="{label}" viewBox="0 0 {FIELD_WIDE} {FIELD_TALL}">{"".join(parts)}</svg>'


def bent(value: float, unit: float) -> float:
    """A value on an axis that is straight near 0 and logarithmic from ``unit`` on; straight all along without a unit."""
    return math.asinh(value / unit) if unit else value


def _ground(
    at: Callable[[float, float], tuple[float, float]],
    ticks: Sequence[float],
    floor: Score | None,
    sketch: Score | None,
    sides: tuple[float, float],
) -> list[str]:
    """What the rivals stand on: grid lines, the band of held-out items, the line of the sketch."""
    (left, right), parts, beside = sides, [], list[tuple[float, float, str]]()
    for value in ticks:
        _, y = at(1.0, value)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>')
    if floor:
        ends = sorted(at(1.0, end)[1] for end in (floor.low, floor.high))
        tall = max(2.0, ends[1] - ends[0])
        parts.append(f'<rect class="floor" x="{left}" y="{ends[0]:.1f}" width="{right - left}" height="{tall:.1f}"/>')
        beside.append((right, sum(ends) / 2, say("held out")))
    if sketch:
        _, y = at(1.0, sketch.value)
        parts.append(f'<line class="dashed" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        beside.append((right, y, say("sketch")))
    return parts + _names(beside, "")


def _names(spots: Sequence[tuple[float, float, str]], kind: str = "name") -> list[str]:
    """Names beside their points, moved apart where they would cover each other."""
    placed: list[tuple[float, float]] = []
    parts = []
    for x, y, name in sorted(spots, key=lambda spot: spot[1]):
        while any(abs(x - other) < 9 * len(name) + 40 and y - near < LETTER for other, near in placed):
            y += 2
        placed.append((x, y))
        parts.append(f'<text class="{kind}" x="{x + 10:.1f}" y="{y + 4:.1f}">{escape(name)}</text>')
    return parts


def histogram(name: str, labels: Sequence[str], made: Sequence[float], real: Sequence[float]) -> str:
    """Shares of groups of one column, real as broad bars behind, made as narrow ones before them."""
    wide, tall, bottom = 200, 90, 76
    step, most = wide / max(1, len(labels)), max(*made, *real, 1e-9)
    parts = [f'<line class="axis" x1="0" x2="{wide}" y1="{bottom}" y2="{bottom}"/>']
    for k, (label, own, other) in enumerate(zip(labels, made, real, strict=True)):
        told = escape(f"{label}: {say('made')} {100 * own:.1f} %, {say('held out')} {100 * other:.1f} %")
        inner = f"<title>{told}</title>"
        for kind, value, inset in (("floor", other, 0.06), ("made", own, 0.28)):
            height = (bottom - 6) * value / most
            x, width = step * (k + inset), step * (1 - 2 * inset)
            inner += f'<rect class="{kind}" x="{x:.1f}" y="{bottom - height:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
        parts.append(f"<g>{inner}</g>")
    ends = [label if len(label) <= 14 else f"{label[:13]}…" for label in (labels[0].split(" … ")[0], labels[-1].split(" … ")[-1])]
    parts.append(f'<text x="0" y="{tall - 2}">{escape(ends[0])}</text>')
    parts.append(f'<text x="{wide}" y="{tall - 2}" text-anchor="end">{escape(ends[1])}</text>' if len(labels) > 1 else "")
    off = 50 * sum(abs(a - b) for a, b in zip(made, real, strict=True))
    about = escape(say("{name}: made and held-out shares differ by {off} % in all", name=name, off=f"{off:.1f}"), quote=True)
    return f'<svg class="bars" role="img" aria-label="{about}" viewBox="0 0 {wide} {tall}">{"".join(parts)}</svg>'


def heat(names: Sequence[str], values: Sequence[Sequence[float]], title: str) -> str:
    """How much each two columns have to do with each other, darker is more."""
    n, left = len(names), 110
    cell = min(28.0, 330 / n)
    size = left + cell * n
    parts = []
    for a, row in enumerate(values):
        y = cell * a
        short = names[a] if len(names[a]) <= 16 else f"{names[a][:15]}…"
        parts.append(f'<text x="{left - 6}" y="{y + cell / 2 + 4:.1f}" text-anchor="end">{escape(short)}</text>')
        for b, value in enumerate(row):
            shade = f'fill-opacity="{value:.2f}"' if a != b else 'fill-opacity="0.06"'
            told = f"<title>{escape(names[a])} × {escape(names[b])}: {value:.2f}</title>"
            place = f'x="{left + cell * b:.1f}" y="{y:.1f}" width="{cell - 1:.1f}" height="{cell - 1:.1f}"'
            parts.append(f'<rect class="made" {place} {shade}>{told}</rect>')
    found = [(value, a, b) for a, row in enumerate(values) for b, value in enumerate(row) if a < b]
    value, a, b = max(found, default=(0.0, 0, 0))
    words = say("{title}: most between {a} and {b}, {value}", title=title, a=names[a], b=names[b], value=f"{value:.2f}")
    told = escape(words, quote=True)
    return f'<svg class="heat" role="img" aria-label="{told}" viewBox="0 0 {size:.0f} {cell * n:.0f}">{"".join(parts)}</svg>'
