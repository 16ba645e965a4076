"""The page: self-contained, without script, readable without pictures, honest about what is missing."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from mintage.core.spec import Score, Verdict
from mintage.core.store import append_json
from mintage.verbs.evaluate import Line, Report, Slice
from mintage.verbs.evidence import Point
from mintage.verbs.exhibit import POINTS, Exhibit, Thing, losses
from mintage.verbs.plots import number
from mintage.verbs.report import render

VOID = {"meta", "img", "br", "circle", "line", "rect", "path", "polyline"}


class Checker(HTMLParser):
    """Collects tags and attributes, and notices what is not closed."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def score(name, value, better="lower"):
    return Score(name, value, value - 0.1, value + 0.1, better, (), "n = 180")


def report(word="gold", **more):
    lines = (
        Line("real", score("kernel distance", 0.02), score("kernel distance", 0.01), score("kernel distance", 0.4)),
        Line("varied", score("coverage", 0.9, "higher"), score("coverage", 0.95, "higher"), score("coverage", 0.6, "higher")),
        Line("obeys", score("read as asked", 0.97, "higher")),
        Line("costs", Score("ms per item", 1.2, 1.2, 1.2, "none", note="measured")),
    )
    given = {
        "verdict": Verdict(word, "Because <it> is.", "Next."), "lines": lines, "refused": {"frechet": "too few items"},
        "slices": (Slice("3 & 4", "read as asked", 0.8, 0.7, 0.9, 20),), "curve": (Point(100, 2.0), Point(200, 1.5)),
        "train": 800, "held": 200, "made": 500, "seed": 0, "versions": {"features": "1"}, "seconds": 3.0,
    }  # fmt: skip
    return Report(**{**given, **more})


def exhibit(**more):
    picture = Thing(np.arange(64, dtype=np.uint8).reshape(8, 8) * 3, "three")
    given = {
        "name": "digits-flow", "facts": [("family", "flow")], "samples": [picture] * 4, "sketches": [picture],
        "pairs": [(picture, picture)], "copies": [(Thing(None, "held back"), picture)], "between": [[picture] * 9],
        "losses": {"flow": [(1.0, 2.0), (2.0, 1.0), (3.0, 0.5)]},
    }  # fmt: skip
    return Exhibit(**{**given, **more})


def checked(html):
    checker = Checker()
    checker.feed(html)
    assert not checker.open
    return checker.seen


@pytest.mark.parametrize("word", ["gold", "bubble", "unproven"])
def test_it_is_whole_and_loads_nothing(word):
    html = render(report(word), exhibit())
    seen = checked(html)
    assert not any(tag in ("script", "link", "iframe", "object") for tag, _ in seen)
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    assert "url(" not in html
    assert "default-src 'none'" in html
    assert f"<h1>{word.capitalize()}</h1>" in html


def test_gold_is_kept_for_the_verdict():
    html = render(report("gold"), exhibit())
    style = html[html.index("<style>") : html.index("</style>")]
    assert [rule for rule in style.split("}") if "var(--gold)" in rule] == [
        rule for rule in style.split("}") if ".verdict.gold h1" in rule
    ]


def test_pictures_and_drawings_have_words():
    seen = checked(render(report(), exhibit()))
    assert all(attrs.get("alt") for tag, attrs in seen if tag == "img")
    shown = [attrs for tag, attrs in seen if tag == "svg" and "aria-hidden" not in attrs]
    assert shown
    assert all(attrs.get("role") == "img" and attrs.get("aria-label") for attrs in shown)


def test_everything_foreign_is_escaped():
    html = render(
        report(), exhibit(name="<b>&me", samples=[Thing("a <script> & more", "", (2, 8))], sketches=[], pairs=[], copies=[])
    )
    assert "<script>" not in html
    assert "<mark>&lt;script&gt;</mark>" in html
    assert "Because &lt;it&gt; is." in html
    assert "3 &amp; 4" in html


def test_numbers_stand_beside_floor_and_sketch():
    html = render(report(), exhibit())
    row = html[html.index('<td class="name">kernel distance') :]
    row = row[: row.index("</tr>")]
    assert all(part in row for part in ("0.020", "0.010", "0.400", 'class="floor"', 'class="sketch"', 'class="whisker"'))
    assert "too few items" in html


def test_missing_parts_leave_no_empty_heading():
    html = render(report(slices=(), curve=(), refused={}), exhibit(pairs=[], copies=[], between=[], losses={}))
    assert not any(title in html for title in ("By class", "Learning", "Copies<", "From one to another"))


def test_texts_between_texts_stand_in_order_and_escaped():
    walk = [Thing("A <b> dog."), Thing(None, "held back"), Thing("Two men.")]
    html = render(report(), exhibit(samples=[Thing("A text.")], sketches=[], between=[walk]))
    at = [
        html.index(part) for part in ("From one to another", "<li>A &lt;b&gt; dog.</li>", "<li>held back</li>", "<li>Two men.</li>")
    ]
    assert at == sorted(at)
    assert "From one to another" not in render(report(), exhibit(samples=[Thing("A text.")], between=[]))


def test_it_speaks_chinese_where_asked(monkeypatch):
    monkeypatch.setenv("MINTAGE_LANG", "zh")
    assert '<html lang="zh">' in render(report(), exhibit())


def test_losses_are_thinned_and_gradients_left_out(tmp_path):
    path = tmp_path / "events.jsonl"
    for step in range(1000):
        append_json(path, {"kind": "step", "step": step, "losses": {"flow": 1 / (step + 1), "flow.grad": 3.0}})
    found = losses(path)
    assert set(found) == {"flow"}
    assert len(found["flow"]) <= POINTS
    assert found["flow"][0][1] > found["flow"][-1][1]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.5, "0.500"), (1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346"), (5.1e-7, "5.1 × 10⁻⁷")],
)
def test_numbers_read_like_numbers(value, text):
    assert number(value) == text


def test_a_text_that_was_held_back_is_an_empty_frame():
    from mintage.verbs.exhibit import Thing
    from mintage.verbs.report import passage

    assert "None" not in passage(Thing(None, "held back"))
    assert "held back" in passage(Thing(None, "held back"))
