"""A family is one file: the one in tests/plugins trains on digits through the command line, nothing else changed."""

import json
from pathlib import Path

PLUGIN = Path(__file__).parents[1] / "plugins" / "families" / "tinyflow.py"


def test_the_file_is_small():
    assert len(PLUGIN.read_text().splitlines()) <= 60


def test_it_is_listed_trained_and_sampled(cli, runs):
    code, out, _ = cli("list")
    assert code == 0
    assert "tinyflow" in out
    code, out, err = cli("train", "digits", "--family", "tinyflow", "-o", "steps=300", "-o", "width=128", "-q")
    assert code == 0, err
    assert out.strip() == str(runs / "digits-tinyflow")
    rows = [json.loads(line) for line in (runs / "digits-tinyflow" / "events.jsonl").read_text().splitlines()]
    losses = [row["losses"]["velocity.mse"] for row in rows if "losses" in row]
    assert losses[-1] < 0.8 * losses[0] or losses[-1] < 0.4
    code, out, err = cli("generate", "digits-tinyflow", "-n", "5", "-o", "steps=8", "-q")
    assert code == 0, err
    assert all(Path(line).exists() for line in out.split())


def test_a_wrong_combination_is_one_sentence(cli, tmp_path):
    (tmp_path / "a.txt").write_text("some words " * 400)
    code, _, err = cli("train", tmp_path / "a.txt", "--family", "tinyflow", "-o", "steps=5", "-q")
    assert code == 2
    assert err.count("\n") == 1
    assert "gpt" in err
