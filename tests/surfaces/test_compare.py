"""compare, as a person meets it: stopped and gone on with, one judge for all, one page, and bad requests in one sentence."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mintage.core.config import from_json, to_json
from mintage.core.errors import InterruptedRun
from mintage.core.store import read_json, write_json
from mintage.verbs import compare as verb
from mintage.verbs import duel
from mintage.verbs.inspect import inspect
from mintage.verbs.plan import Wish
from mintage.verbs.train import train

PLUGINS = Path(__file__).parents[1] / "plugins"
OPTIONS = ("steps=40", "widths=8,16", "depths=1,1", "width=64")  # of both, of flow, of flow, of tinyflow


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Two families on digits, stopped before the second and gone on with: the result, and what was said in the second sitting."""
    folder, said = tmp_path_factory.mktemp("compared"), []
    os.environ["MINTAGE_PLUGINS"] = str(PLUGINS)

    def stop(event):
        if "tinyflow: training" in event.text:
            raise InterruptedRun("stopped")

    asked = {"data": "digits", "families": ("flow", "tinyflow"), "minutes": 0.5, "options": OPTIONS, "runs": str(folder)}
    with pytest.raises(InterruptedRun):
        verb.compare(**asked, on=stop)
    return verb.compare(**asked, on=lambda event: said.append(event.text)), said


def test_what_was_finished_is_used_again(compared):
    result, said = compared
    assert "flow: trained before, used again." in said
    assert "tinyflow: training." in said
    assert [e.label for e in result.entries] == ["flow", "tinyflow"]
    assert [read_json(e.run / "recipe.json")["options"] for e in result.entries] == [
        {"steps": "40", "widths": "8,16", "depths": "1,1"},
        {"steps": "40", "width": "64"},
    ]


def test_one_judge_the_same_items_equally_many(compared):
    result, _ = compared
    first, second = (e.report for e in result.entries)
    assert (first.made, first.held, first.seed) == (second.made, second.held, second.seed)
    for line in first.lines:
        other = second.line(line.made.name)
        assert (line.floor, line.sketch) == (other.floor, other.sketch)
    assert first.line("kernel distance").made != second.line("kernel distance").made


def test_the_json_is_the_result(compared):
    result, _ = compared
    stored = read_json(Path(result.path).with_name("report.json"))
    assert stored["outcome"]["sentence"] == result.outcome.sentence
    assert stored["default"] == "flow"
    assert stored["mixture"].startswith("A mixture of ")
    assert set(stored["budgets"]) == {"0.5"}
    assert all((e.run / "report" / "report.html").exists() for e in result.entries)


def test_the_page_is_whole_and_loads_nothing(compared):
    html = Path(compared[0].path).read_text(encoding="utf-8")
    assert html.count("<img") == 4 * 10, "held out, two families, the sketch: ten classes each"
    assert not re.search(r"<(script|link|iframe|object)", html)
    assert not re.search(r'src="(?!data:)', html)
    assert all((Path(compared[0].path).parent / path).exists() for path in re.findall(r'href="([^"]*)"', html))
    heads = re.findall(r"<h3>([^<]*)</h3>", html)
    assert heads[0] == "held out"
    assert heads[-1] == "sketch"
    assert set(heads[1:-1]) == {"flow", "tinyflow"}
    assert all(word in html for word in ("kernel distance", "read as asked", "ms each", "Quality beside cost"))


def test_the_page_speaks_chinese(compared, monkeypatch):
    monkeypatch.setenv("MINTAGE_LANG", "zh")
    html = duel.render(compared[0], [("真实", []), ("flow", []), ("草图", [])])
    assert '<html lang="zh">' in html
    assert "质量与成本" in html
    assert "Bubble" not in html


def test_other_minutes_stand_beside(compared, tmp_path):
    result, _ = compared
    for minutes, data in (("0.5", "same"), ("3", "same"), ("9", "other")):
        write_json(tmp_path / f"{minutes}min" / "settings.json", {"minutes": float(minutes), "data_hash": data})
        write_json(
            tmp_path / f"{minutes}min" / "report.json", {"budgets": to_json(result.budgets) | {"3": to_json(result.budgets)["0.5"]}}
        )
    found = verb.budgets(tmp_path / "0.5min", result)
    assert list(found) == ["0.5", "3"]
    assert found["3"] == result.budgets["0.5"]
    page = duel.over_minutes(replace(result, budgets=found))
    assert page.count("<polyline") == 2


def test_texts_are_judged_alike_whatever_the_context(tmp_path, monkeypatch):
    monkeypatch.setattr(verb, "SECONDS", 0.2)
    lines = [f"line {i}: the quick brown fox {i * i} jumps over the lazy dog {i % 7}" for i in range(400)]
    (tmp_path / "poem.txt").write_text("\n".join(lines))
    tiny = ("steps=4", "width=64", "layers=1", "heads=1", "pairs=64")
    runs = {
        n: train(Wish(str(tmp_path / "poem.txt"), name=n, options=(*tiny, f"length={n}")), runs=str(tmp_path / "runs")).run
        for n in ("48", "129")
    }
    short, long = verb.bench(runs, 0, lambda event: None).values()
    assert short.features is long.features
    assert torch.equal(short.test, long.test)
    assert short.made.made.shape == long.made.made.shape
    assert [(p.characters, p.bytes) for p in short.passages()] == [(p.characters, p.bytes) for p in long.passages()]
    assert max(p.lead for p in short.passages()) == 24


def test_all_that_fit_take_part_when_none_is_named(runs):
    field = verb.enter(Wish("digits"), (), inspect("digits"))
    labels = [c.label for c in field.contestants]
    assert labels[0] == field.default == "flow"
    assert "tinyflow" in labels
    assert "sketch" not in labels
    assert "grid" in field.refused["gpt"]


def test_two_stages_take_part_with_their_own_settings():
    field = verb.enter(
        Wish("digits", options=("share=0.2", "widths=8,16", "vae.lr=0.001")), ("flow", "vae+flow"), inspect("digits")
    )
    assert [(c.label, c.wish.options) for c in field.contestants] == [
        ("flow", ("widths=8,16",)),
        ("vae+flow", ("share=0.2", "widths=8,16", "vae.lr=0.001")),
    ]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("digits", "--families", "flow"), "--families flow"),
        (("digits", "--families", "flow,flow"), "--families flow,flow"),
        (("digits", "--families", "flow,flwo"), "Did you mean flow"),
        (("digits", "--families", "flow,gpt"), "gpt"),
        (("digits", "--families", "flow,tinyflow", "--minutes", "0"), "--minutes 0"),
        (("digits", "--families", "flow,tinyflow", "-o", "widht=3"), "Did you mean width"),
        (("digits", "--families", "flow,tinyflow", "-o", "width=much"), "width"),
        (("digits", "--families", "flow,tinyflow", "--name", "../x"), "--name ../x"),
        (("nothing-here", "--families", "flow,tinyflow"), "nothing-here"),
    ],
)
def test_bad_requests_are_one_sentence(cli, runs, args, words):
    code, out, err = cli("compare", *args, "-q")
    assert code == 2, err
    assert out == ""
    assert err.count("\n") == 1
    assert words in err
    assert not runs.exists() or not list(runs.rglob("recipe.json"))


def test_the_command_prints_the_table_the_answer_and_the_page(cli, compared):
    result, _ = compared
    given = ("--families", "flow,tinyflow", "--minutes", "0.5", *(part for pair in OPTIONS for part in ("-o", pair)))
    folder = Path(result.path).parents[2]
    code, out, err = cli("compare", "digits", *given, "--runs", folder, "-q")
    assert code == 0, err
    lines = out.splitlines()
    assert "kernel distance" in lines[0]
    assert [line.split()[0] for line in lines[1:3]] == ["flow", "tinyflow"]
    assert result.outcome.sentence in lines
    assert lines[-1] == result.path
    stored = read_json(Path(result.path).with_name("report.json"))
    assert from_json(verb.Comparison, json.loads(json.dumps(stored))).entries[0].report.line("recall") == result.entries[
        0
    ].report.line("recall")
