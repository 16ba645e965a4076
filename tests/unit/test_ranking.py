"""Who wins: only where intervals separate, real before varied, bubbles last, and a tie is called a tie."""

from pathlib import Path

import pytest

from mintage.core.spec import Score, Verdict
from mintage.verbs.evaluate import GAIN, Line, Report
from mintage.verbs.ranking import Entry, ahead, grid, leads, measure, outcome, winners


def entry(label, word="gold", ms=1.0, **numbers):
    """An entry from ``kernel=(value, half)`` and the like."""
    names = {
        "kernel": ("real", "kernel distance", "lower"), "told": ("real", "two-sample accuracy", "lower"),
        "gain": ("real", GAIN, "higher"), "bits": ("real", "bits per byte", "lower"),
        "recall": ("varied", "recall", "higher"), "copies": ("its own", "copies", "lower"),
        "asked": ("obeys", "read as asked", "higher"),
    }  # fmt: skip
    lines = []
    for key, (value, half) in numbers.items():
        question, name, better = names[key]
        score = Score(name, value, value - half, value + half, better)
        lines.append(Line(question, score, score, score))
    lines.append(Line("costs", Score("ms per item", ms, ms, ms, "none")))
    return Entry(
        label, label, Path(label), Report(Verdict(word, "Why.", "Next."), tuple(lines), {}, (), (), 800, 200, 500, 0, {}, 1.0)
    )


def test_the_nearest_to_real_wins_and_the_sentence_has_the_numbers():
    found = outcome([entry("vae", kernel=(0.3, 0.05)), entry("flow", kernel=(0.1, 0.05))], "flow", 3)
    assert found.winner == "flow"
    assert found.close == ()
    assert "Take flow for this data at 3 min" in found.sentence
    assert "0.100" in found.sentence
    assert "(kernel distance 0.100; vae 0.300)" in found.sentence
    assert "what the plan chooses" in found.of_default


def test_overlapping_intervals_are_a_tie_and_the_cheaper_is_named():
    found = outcome([entry("gan", ms=1.0, kernel=(0.1, 0.05)), entry("flow", ms=9.0, kernel=(0.12, 0.05))], "flow", 1)
    assert found.winner == ""
    assert found.close == ("gan", "flow")
    assert "gan and flow are level, too close to call" in found.sentence
    assert "gan makes an item in 1.00 ms, flow in 9.00" in found.sentence
    assert found.by_question["real"] == ""
    assert found.by_question["costs"] == "gan"
    assert "flow, is among them" in found.of_default


def test_level_on_real_is_decided_by_variety():
    rivals = [entry("gan", kernel=(0.1, 0.05), recall=(0.4, 0.05)), entry("flow", kernel=(0.12, 0.05), recall=(0.9, 0.05))]
    rivals.append(entry("vae", kernel=(0.9, 0.05), recall=(0.3, 0.05)))  # out before: not as real
    found = outcome(rivals, "gan", 1)
    assert found.winner == "flow"
    assert "more varied (recall 90 %; gan 40 %)" in found.sentence
    assert "did not win" in found.of_default


def test_a_bubble_does_not_win_however_real_it_looks():
    copier = entry("memory", "bubble", kernel=(0.0, 0.01))
    assert outcome([copier, entry("flow", kernel=(0.3, 0.05))], "flow", 1).winner == "flow"
    none = outcome([copier, entry("flow", "bubble", kernel=(0.3, 0.05))], "flow", 1)
    assert none.winner == ""
    assert none.close == ()
    assert "every one is a bubble" in none.sentence


def test_numbers_that_contradict_each_other_put_nobody_ahead():
    a, b = (e.report for e in (entry("a", kernel=(0.1, 0.01), told=(0.9, 0.01)), entry("b", kernel=(0.2, 0.01), told=(0.7, 0.01))))
    assert not ahead(a, b, "real")
    assert not ahead(b, a, "real")


def test_texts_are_told_apart_by_the_gain_over_the_sketch():
    a = entry("rnn", gain=(0.10, 0.01), bits=(2.0, 0.2), kernel=(0.5, 0.01))
    b = entry("gpt", gain=(0.15, 0.01), bits=(1.95, 0.2), kernel=(0.6, 0.01))
    assert outcome([a, b], "gpt", 1).winner == "gpt"
    assert leads(b, [a, b], GAIN)
    assert not leads(b, [a, b], "bits per byte"), "those intervals overlap"
    assert leads(a, [a, b], "kernel distance")
    assert measure(b.report).sketch.value == 0
    assert ahead(b.report, entry("masked", kernel=(0.9, 0.01)).report, "real"), "without a likelihood, the distance decides"


@pytest.mark.parametrize("asked", [True, False])
def test_a_question_that_nobody_was_asked_has_no_winner(asked):
    numbers = {"kernel": (0.1, 0.01)} | ({"asked": (0.9, 0.01)} if asked else {})
    assert ("obeys" in winners([entry("a", **numbers), entry("b", **numbers)])) == asked


def test_the_table_has_a_row_for_each_and_for_floor_and_sketch():
    lines = grid([entry("flow", kernel=(0.1, 0.05), recall=(0.9, 0.05)), entry("vae", kernel=(0.3, 0.05), recall=(0.8, 0.05))])
    assert [line.split("  ")[0].strip() for line in lines] == ["", "flow", "vae", "held out", "sketch"]
    assert "0.100 ± 0.050" in lines[1]
    assert "90 % ± 5 %" in lines[1]
    assert len({line.find("±") for line in lines[1:]}) == 1, "columns stand under each other"
