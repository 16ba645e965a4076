"""The mean of snapshots becomes the model where holdout proves it better, and is said to gain nothing where it does not."""

import pytest
import torch

from mintage.core.spec import Score
from mintage.core.store import load_tensors, read_json, read_jsonl
from mintage.verbs import averages
from mintage.verbs.plan import Wish
from mintage.verbs.train import train

LINES = [f"line {i}: the quick brown fox {i * i} jumps over the lazy dog {i % 7}" for i in range(300)]
GPT = ("steps=96", "width=32", "layers=1", "heads=1", "pairs=64", "length=32", "batch=4", "counts=no")


def test_the_mean_is_of_what_all_hold():
    last = {"a": torch.tensor([4.0]), "b": torch.tensor([1.0]), "n": torch.tensor(7)}
    snapshots = [{"a": torch.tensor([1.0]), "n": torch.tensor(1)}, {"a": torch.tensor([1.0]), "n": torch.tensor(2)}]
    mean = averages.mean_of(last, snapshots, {"a", "b"})
    assert mean == {"a": torch.tensor([2.0]), "b": torch.tensor([1.0]), "n": torch.tensor(7)}


def test_windows_are_compared_one_by_one():
    before = torch.linspace(1, 3, 48)
    name, gain, margin = averages.gained(before, before - 0.01)
    assert (name, round(gain, 4)) == ("nats per token", 0.01)
    assert margin < 1e-3
    a, b = Score("kernel distance", 0.5, 0.4, 0.6), Score("kernel distance", 0.1, 0.0, 0.2)
    assert averages.gained(a, b)[1] > averages.gained(a, b)[2]
    assert averages.gained(b, a)[1] < 0


@pytest.mark.parametrize(
    ("more", "kept"), [(("lr=0.1", "decay=0", "ema=0", "average=5"), True), (("lr=0.01", "decay=1", "average=8"), False)]
)
def test_a_restless_end_is_averaged_and_a_settled_one_is_not(more, kept, runs, tmp_path):
    (tmp_path / "lines.txt").write_text("\n".join(LINES))
    said = []
    run = train(Wish(str(tmp_path / "lines.txt"), "gpt", options=(*GPT, *more)), on=lambda event: said.append(event.text)).run
    choice = read_json(run / "model" / "card.json")["average"]
    assert choice["kept"] is kept
    assert choice["kept"] == (choice["gain"] > choice["margin"])
    assert any(("is the model" if kept else "no gain") in text for text in said)
    last = load_tensors(run / "checkpoints" / "average-16.safetensors")
    same = all(torch.equal(value, last[name]) for name, value in load_tensors(run / "model" / "model.safetensors").items())
    assert same is not kept
    assert not any(row["kind"] == "alarm" for row in read_jsonl(run / "journal.jsonl"))
