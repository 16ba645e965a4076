"""--from: another model's codec, sizes and weights are the start; new classes append rows; what does not agree refuses."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import mintage
from mintage.core.errors import UsageError
from mintage.core.store import load_tensors, read_json, read_jsonl
from mintage.verbs.compare import enter
from mintage.verbs.inspect import inspect
from mintage.verbs.plan import Wish
from mintage.verbs.train import train

LINES = [f"line {i}: the quick brown fox {i * i} jumps over the lazy dog {i % 7}" for i in range(100)]
GPT = ("steps=30", "width=32", "layers=1", "heads=1", "pairs=64", "dropout=0", "length=32")


def pictures(folder, names):
    """Handwriting under other class names."""
    digits = load_digits()
    for k, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for i, x in enumerate(digits.images[digits.target == k][:40]):
            Image.fromarray((x * 15.9).astype(np.uint8)).save(folder / name / f"{i}.png")
    return str(folder)


def losses(run, key):
    return [row["losses"][key] for row in read_jsonl(run / "events.jsonl") if "losses" in row]


def sha(run):
    return hashlib.sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture
def base(runs):
    return train(Wish("digits", "tinyflow", options=("steps=200", "width=64"))).run


def test_new_classes_append_rows_and_the_rest_is_the_bases(base, tmp_path):
    data = pictures(tmp_path / "mine", ["0", "1", "tall"])
    said = []
    wish = Wish(data, options=("steps=1", "lr=1e-6", "ema=0"), parent="digits-tinyflow")
    run = train(wish, on=lambda event: said.append(event.text)).run
    old, new = (load_tensors(folder / "model" / "model.safetensors") for folder in (base, run))
    card = read_json(run / "model" / "card.json")
    names = card["recipe"]["cond"]["class"]["channels"]
    assert names == [*map(str, range(10)), "tall"]
    assert card["recipe"]["config"] == {"width": 64}
    assert card["recipe"]["parent"] == "digits-tinyflow"
    assert card["recipe"]["options"]["from"] == "digits-tinyflow"
    assert str(tmp_path) not in (run / "model" / "card.json").read_text()
    assert "started from the weights of digits-tinyflow" in (run / "model" / "README.md").read_text()
    assert any("starts from digits-tinyflow: 100 %" in text for text in said)
    rows = [*range(10), 10, 10]  # the new class starts as no class
    for name, value in new.items():
        assert torch.allclose(value, old[name][rows] if name == "embed.weight" else old[name], atol=1e-4), name
    loaded = mintage.load(run)
    from mintage.verbs.asking import default_classes

    assert {names[i] for i in default_classes(loaded, range(9)).tolist()} == {"0", "1", "tall"}
    assert len(loaded.generate(2, given={"class": "7"}).paths) == 3  # the base's own classes can still be asked for


def test_it_begins_where_the_base_ended_and_resumes_to_the_same_bytes(base, tmp_path, monkeypatch):
    data = pictures(tmp_path / "mine", ["a", "b", "c"])
    options = ("steps=12", "batch=32")
    scratch = train(Wish(data, "tinyflow", options=(*options, "width=64"))).run
    tuned = train(Wish(data, options=options, parent="digits-tinyflow")).run
    assert scratch != tuned
    assert losses(tuned, "velocity.mse")[0] < 0.8 * losses(scratch, "velocity.mse")[0]
    assert train(Wish(data, options=options, parent=str(base / "model"))).said == "finished"  # the same run, however it is called

    from mintage.verbs import session

    with monkeypatch.context() as patch:
        patch.setattr(session.Session, "finish", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(Wish(data, options=options, parent=str(base)), runs=str(tmp_path / "killed"))
    done = train(Wish(data, options=options, parent=str(base)), runs=str(tmp_path / "killed"))
    assert done.said == "resumed"
    assert sha(done.run) == sha(tuned)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Wish("", size="16"), ("size", "8x8")),
        (Wish("", "flow"), ("family", "tinyflow")),
        (Wish("", options=("width=128",)), ("-o width", "shape")),
    ],
)
def test_what_does_not_agree_is_refused_with_the_bases_values(wish, words, base, tmp_path):
    from dataclasses import replace

    data = pictures(tmp_path / "mine", ["a", "b"])
    with pytest.raises(UsageError) as error:
        train(replace(wish, data=data, parent="digits-tinyflow"))
    assert all(word in str(error.value) for word in words), error.value


def test_colours_under_a_grey_base_are_refused(base, tmp_path):
    rng = np.random.default_rng(0)
    for i in range(20):
        (tmp_path / "colour").mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(tmp_path / "colour" / f"{i}.png")
    with pytest.raises(UsageError, match="grey"):
        train(Wish(str(tmp_path / "colour"), parent="digits-tinyflow"))


def test_a_comparison_takes_a_model_as_a_start(base, runs, tmp_path):
    data = pictures(tmp_path / "mine", ["a", "b"])
    entered = enter(Wish(data, minutes=0.1), ["tinyflow", "digits-tinyflow"], inspect(data, {}))
    assert [c.label for c in entered.contestants] == ["tinyflow", "from digits-tinyflow"]
    assert [Path(c.wish.parent).parent.name for c in entered.contestants] == ["", "digits-tinyflow"]
    assert entered.contestants[1].wish.family == "tinyflow"
    with pytest.raises(UsageError, match="8x8"):
        enter(Wish(data, minutes=0.1, size="16"), ["tinyflow", "digits-tinyflow"], inspect(data, {}))
    large = train(Wish(data, "tinyflow", size="16", name="large", options=("steps=2", "width=64"))).run
    with pytest.raises(UsageError, match="give --size"):
        enter(Wish(data, minutes=0.1), ["tinyflow", large.name], inspect(data, {}))


def test_a_text_base_spells_what_it_never_saw(runs, tmp_path):
    (tmp_path / "base.txt").write_text("\n".join(LINES))
    (tmp_path / "mine.txt").write_text("\n".join(f"żółw 龟 {i} ползёт" for i in range(100)))
    base = train(Wish(str(tmp_path / "base.txt"), "gpt", options=GPT)).run
    run = train(Wish(str(tmp_path / "mine.txt"), options=("steps=40",), parent=base.name)).run
    old, new = (read_json(folder / "recipe.json") for folder in (base, run))
    assert new["codec"]["vocabulary"] == old["codec"]["vocabulary"]
    assert new["target"] == old["target"]
    assert new["config"] == old["config"]
    seen = losses(run, "tokens.nats")
    assert seen[-1] < seen[0]
    assert mintage.load(run).generate(1, prompt="żół").hashes


def test_an_unfinished_or_unknown_base_is_one_sentence(cli, runs):
    code, _, err = cli("train", "digits", "--from", "nothing", "-q")
    assert code == 2
    assert "nothing" in err
    assert err.count("\n") == 1
