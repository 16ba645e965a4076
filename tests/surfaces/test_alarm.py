"""An alarm at a fixed step starts a training again with its cure, written down first; a kill before or after changes nothing."""

import hashlib
import json

import pytest

import mintage
from mintage.core.store import read_json, read_jsonl
from mintage.verbs import previews, session
from mintage.verbs.cards import alarms
from mintage.verbs.exhibit import history
from mintage.verbs.plan import Wish
from mintage.verbs.train import train

FIXED = ("steps=40", "width=64", "lr=0.05", "batch=32")


class Killed(Exception):
    """The process dies here."""


def weights(run):
    return hashlib.sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest()


def trained(name="", runs="", alarms=1, on=lambda event: None):
    wish = Wish("digits", "nervous", minutes=0.2, options=(*FIXED, f"alarms={alarms}"), name=name)
    return train(wish, runs=str(runs), on=on)


@pytest.fixture
def whole(runs):
    said = []
    done = trained(on=lambda event: said.append(event))
    return done.run, [event.text for event in said if event.kind == "warning"]


def test_the_cure_is_written_said_and_in_the_card(whole):
    run, said = whole
    alarm, afresh = (row for row in read_jsonl(run / "journal.jsonl"))
    assert afresh == {"kind": "afresh"}
    assert alarm["kind"] == "alarm"
    assert alarm["step"] == 4  # a tenth of 40, never the clock
    assert alarm["change"] == {"width": "32", "alarms": "0", "lr": "0.001"}
    assert any("-o width=32" in text and "had set: alarms, lr, width" in text for text in said)
    assert read_json(run / "recipe.json")["config"]["width"] == 64  # the recipe stays frozen
    card = read_json(run / "model" / "card.json")
    assert card["recipe"]["config"] == {"width": 32, "alarms": 0}
    assert card["recipe"]["training"]["lr"] == 0.001
    assert card["steps"] == 40
    assert card["alarms"] == [{key: alarm[key] for key in ("step", "reason", "change")}]
    assert "An alarm at step 4" in (run / "model" / "README.md").read_text()
    assert history({**card, "average": None}) == [("alarm", alarms(card)[0])]
    assert history({"recipe": {"parent": "base"}}) == [("started from", "base")]
    assert len(mintage.load(run).generate(2).paths) == 3


@pytest.mark.parametrize(("place", "kind"), [("_start_again", "before"), ("_sweep", "after"), ("_start", "later")])
def test_a_death_around_the_alarm_changes_no_byte(place, kind, whole, runs, tmp_path, monkeypatch):
    real, calls = getattr(session.Session, place), []

    def dies(self, *more):
        calls.append(place)
        if place != "_start" or len(calls) == 2:
            raise Killed
        return real(self, *more)

    with monkeypatch.context() as patch:
        patch.setattr(session.Session, place, dies)
        with pytest.raises(Killed):
            trained(runs=tmp_path / "killed")
    (run,) = (tmp_path / "killed").glob("*")
    assert [row["kind"] for row in read_jsonl(run / "journal.jsonl")] == {
        "before": [],
        "after": ["alarm"],
        "later": ["alarm", "afresh"],
    }[kind]
    assert trained(runs=tmp_path / "killed").said == "resumed"
    assert weights(run) == weights(whole[0])


def test_the_third_alarm_is_only_said(runs):
    said = []
    done = trained(alarms=5, on=lambda event: said.append(event.text))
    rows = read_jsonl(done.run / "journal.jsonl")
    assert [row["kind"] for row in rows] == ["alarm", "afresh"] * session.RESTARTS
    assert done.recipe.config["alarms"] == 5 - session.RESTARTS
    assert any("Again at step 4" in text for text in said)


def test_what_is_left_of_the_minutes_is_solved_again(runs, monkeypatch):
    monkeypatch.setattr(previews, "FEWEST", 10_000)  # no dials: their judge takes seconds to learn
    options = ("width=64", "alarms=1")
    done = train(Wish("digits", "nervous", minutes=0.03, options=options))
    (alarm,) = (row for row in read_jsonl(done.run / "journal.jsonl") if row["kind"] == "alarm")
    assert alarm["knots"][0] == [0, 0.0]
    assert alarm["knots"][-1][1] == 1.0
    assert 0 < alarm["elapsed"] < 1.5
    events = [json.loads(line) for line in (done.run / "events.jsonl").read_text().splitlines()]
    assert [row["elapsed"] for row in events if row["kind"] == "step"][-1] > alarm["elapsed"]
    assert done.minutes < 0.1
