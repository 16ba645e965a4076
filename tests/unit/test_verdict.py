"""The verdict on real handwriting: a good, a memorising, a collapsed, a disobedient and a sketch-level model."""

import dataclasses

import pytest
import torch

from mintage.core.spec import Batch, Evidence, Score, Spec
from mintage.families.sketch import Config, Model
from mintage.nn.copies import CopySearch
from mintage.nn.features import Features, outline
from mintage.nn.noise import Noise
from mintage.verbs.evaluate import GAIN, Line, beats, by_class, decide, judge, more_data
from mintage.verbs.evidence import Point

SPEC = Spec("grid", (1, 8, 8), ("channel", "height", "width"))
CLASS = Spec("tokens", channels=tuple("0123456789"), vocab=10)
ASKED = {"class": torch.arange(300) % 10}


@pytest.fixture(scope="module")
def court(digits):
    """The same evidence for everybody; ``try_(made, asked)`` gives lines and verdict."""
    x, y = digits
    train, holdout, test = x[:1137], x[1137:1317], x[1317:1497]
    features = Features.fit(SPEC, train, y[:1137], 10, Noise("court"))
    sketch = Model(SPEC, {"class": CLASS}, Config())
    sketch.settle([Batch(train, {"class": y[:1137]}, torch.ones(1137), torch.full((1137,), 8))])
    extra = {"copies": CopySearch(outline(train))}

    def evidence(made, asked):
        return Evidence(SPEC, made, asked, train, holdout, test, {}, features, None, Noise("court"), extra)

    def drawn(seed):
        return list(sketch.sample(ASKED, Noise.rows_of(range(seed, seed + 300)), {}))[-1]

    floor, base = evidence(holdout, {"class": y[1137:1317]}), evidence(drawn(0), ASKED)

    def try_(made, asked=ASKED):
        lines, _ = judge(evidence(made, asked), floor, base, 360)
        return lines, decide(lines, 1137, 360)

    try_.real, try_.labels = x[1497:], {"class": y[1497:]}
    try_.train, try_.train_labels = train, {"class": y[:300]}
    try_.sketch = drawn
    return try_


def test_real_handwriting_is_gold(court):
    lines, verdict = court(court.real + 0.05 * Noise("grain").normal(court.real.shape), court.labels)
    assert verdict.word == "gold", verdict
    assert "0 of 300" in verdict.reason
    assert {line.question for line in lines} == {"real", "varied", "its own", "obeys"}
    assert all(line.floor and line.sketch for line in lines)


def test_a_memory_is_a_bubble(court):
    made = court.train[:300] + 0.05 * Noise("memory").normal((300, 1, 8, 8))
    _, verdict = court(made, court.train_labels)
    assert verdict.word == "bubble"
    assert "copies" in verdict.reason


def test_a_few_copies_among_good_work_are_a_bubble(court):
    made = court.real.clone()
    made[:12] = court.train[:12]
    assert "12 of 300" in court(made, court.labels)[1].reason


def test_a_collapsed_model_is_a_bubble(court):
    made = court.sketch(0)[:4].repeat(75, 1, 1, 1) + 0.02 * Noise("few").normal((300, 1, 8, 8))
    _, verdict = court(made)
    assert verdict.word == "bubble"
    assert "same few things" in verdict.reason


def test_a_disobedient_model_is_a_bubble(court):
    _, verdict = court(court.real, {"class": (court.labels["class"] + 1) % 10})
    assert verdict.word == "bubble"
    assert "as asked" in verdict.reason


def test_a_second_sketch_is_a_bubble(court):
    _, verdict = court(court.sketch(1000))
    assert verdict.word == "bubble"
    assert "sketch" in verdict.reason


def test_slices_put_the_worst_class_first(court):
    made = court.real.clone()
    eights = court.labels["class"] == 8
    made[eights] = court.real[court.labels["class"] == 1][0]
    lines, _ = court(made, court.labels)
    slices = by_class(lines, court.labels, CLASS.channels)
    assert slices[0].name == "8"
    assert slices[0].value < 0.2
    assert [s.value for s in slices] == sorted(s.value for s in slices)


def line(name, made, floor=None, sketch=None, better="lower", question="real"):
    def score(at):
        return Score(name, *at, better) if at else None

    return Line(question, score(made), score(floor), score(sketch))


def good():
    """Numbers of a model that deserves gold."""
    return [
        line("kernel distance", (0.02, 0.0, 0.04), (0.01, 0.0, 0.03), (0.3, 0.25, 0.35)),
        line("two-sample accuracy", (0.55, 0.5, 0.6), (0.5, 0.45, 0.55), (0.8, 0.75, 0.85)),
        line("coverage", (0.9, 0.85, 0.95), (0.95, 0.9, 1.0), (0.5, 0.45, 0.55), "higher", "varied"),
        line("recall", (0.8, 0.75, 0.85), (0.9, 0.85, 0.95), (0.9, 0.85, 0.95), "higher", "varied"),
        line("copies", (0.0, 0.0, 0.01), (0.0, 0.0, 0.02), (0.0, 0.0, 0.01), question="its own"),
        line("copy p-value", (1.0, 1.0, 1.0), better="none", question="its own"),
    ]


def changed(name, **ends):
    return [dataclasses.replace(ln, made=dataclasses.replace(ln.made, **ends)) if ln.made.name == name else ln for ln in good()]


def test_the_reference_is_gold():
    assert decide(good(), 800, 200).word == "gold"


def test_wide_intervals_are_unproven_and_say_how_many_more():
    lines = changed("kernel distance", value=0.25, low=0.0, high=0.5)
    lines = [ln for ln in lines if ln.made.name != "two-sample accuracy"]
    verdict = decide(lines, 160, 40)
    assert verdict.word == "unproven"
    assert "more items would settle it" in verdict.next_step or "minutes" in verdict.next_step


def test_far_from_real_is_unproven():
    verdict = decide(changed("kernel distance", value=0.15, low=0.13, high=0.17), 800, 200)
    assert verdict.word == "unproven"
    assert "3 times" in verdict.reason


def test_lower_coverage_than_held_out_is_unproven():
    lines = changed("coverage", value=0.5, low=0.45, high=0.55)
    assert decide(lines, 800, 200).word == "unproven"


def test_few_held_out_items_are_unproven():
    verdict = decide([], 40, 10)
    assert verdict.word == "unproven"
    assert "100" in verdict.next_step


def test_many_pieces_of_few_files_are_unproven():
    assert decide(good(), 800, 200, files={"train": 700, "holdout": 90, "test": 90}).word == "gold"
    verdict = decide(good(), 800, 200, files={"train": 29, "holdout": 3, "test": 4})
    assert verdict.word == "unproven"
    assert "7 files" in verdict.reason
    assert decide(good(), 800, 200, files={"train": 0, "holdout": 0, "test": 0}).word == "gold"  # not cut from files


@pytest.mark.parametrize(("gain", "word"), [((0.1, 0.05, 0.15), "gold"), ((-0.1, -0.15, -0.05), "bubble")])
def test_texts_are_decided_by_likelihood(gain, word):
    lines = [*good(), line(GAIN, gain, better="higher")]
    assert decide(lines, 800, 200).word == word


def test_beats_needs_more_than_chance():
    a, near, far = (Score("s", v, v - 0.1, v + 0.1, "lower") for v in (0.5, 0.6, 0.7))
    assert (beats(a, near), beats(a, far), beats(far, a), beats(a, a)) == (0, 1, -1, 0)


def test_the_learning_curve_says_whether_more_would_help():
    assert "800" in more_data([Point(200, 2.0), Point(400, 1.6), Point(800, 1.3)])
    assert "hardly" in more_data([Point(200, 1.0), Point(400, 0.99), Point(800, 0.985)])
    assert more_data([]) == ""
