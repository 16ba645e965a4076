"""Two trainings in one run: whose option is whose, the folder alone, kill −9 in either stage, refusals."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

PLUGINS = Path(__file__).parents[1] / "plugins"
SMALL = {
    "tinyflow": ["-o", "steps=60", "-o", "width=64"],
    "gpt": ["-o", "steps=12", "-o", "width=32", "-o", "layers=1", "-o", "heads=2", "-o", "counts=no"],
}


def wish(last, *more):
    return ["train", "digits", "--family", f"tinyvae+{last}", *SMALL[last], "-o", "tinyvae.steps=60", *more, "-q"]


def recipe_of(folder):
    return json.loads((folder / "recipe.json").read_text())


@pytest.mark.parametrize("last", SMALL)
def test_the_model_stands_alone_and_makes_pictures(last, cli, runs, tmp_path):
    code, out, err = cli(*wish(last))
    assert code == 0, err
    run = Path(out.strip())
    assert run == runs / f"digits-tinyvae-{last}"
    _, made, _ = cli("generate", run.name, "-n", "3", "--json", "-q")
    shutil.copytree(run / "model", tmp_path / "alone")
    shutil.rmtree(run)
    code, again, err = cli("generate", tmp_path / "alone", "-n", "3", "--out", tmp_path / "made", "--json", "-q")
    assert code == 0, err
    assert json.loads(again)["hashes"] == json.loads(made)["hashes"]
    assert len(set(json.loads(made)["hashes"])) == 3

    from mintage.verbs.generate import draw
    from mintage.verbs.load import load

    loaded = load(tmp_path / "alone")
    assert loaded.recipe.title == f"tinyvae+{last}"
    assert loaded.recipe.target.shape == (1, 8, 8), "everything outside sees pictures, not codes"
    assert draw(loaded, 2).shape == (2, 1, 8, 8)
    assert loaded.sketch.target == loaded.recipe.target
    assert loaded.card["first"]["steps"] == 60
    assert "tinyvae" in (tmp_path / "alone" / "README.md").read_text()
    assert str(tmp_path) not in (tmp_path / "alone" / "card.json").read_text()


def test_the_first_stage_does_not_move_while_the_second_learns(cli, runs):
    assert cli(*wish("tinyflow"))[0] == 0
    from mintage.core.store import load_tensors

    run = runs / "digits-tinyvae-tinyflow"
    alone = load_tensors(run / "stages" / "tinyvae" / "model" / "model.safetensors")
    both = load_tensors(run / "model" / "model.safetensors")
    for name, value in alone.items():
        assert torch.equal(both[f"first.{name}"], value)
    assert (both["scale"] > 1e-3).all()
    code, out, _ = cli("explain", run.name)
    assert code == 0
    assert "stage 1 of 2" in out
    assert "tinyvae.py" in out
    code, _, err = cli(*wish("tinyflow"))
    assert code == 0
    assert "nothing to add" in err


def test_every_option_reaches_its_stage(cli, runs):
    more = ["-o", "depth=3", "-o", "share=0.25", "-o", "tinyvae.lr=0.004", "-o", "lr=0.003"]
    assert cli(*wish("tinyflow", *more, "--minutes", "2"))[0] == 0
    recipe = recipe_of(runs / "digits-tinyvae-tinyflow")
    assert (recipe["first"]["minutes"], recipe["minutes"]) == (0.5, 1.5)
    assert (recipe["first"]["training"]["lr"], recipe["training"]["lr"]) == (0.004, 0.003)
    assert recipe["first"]["config"]["depth"] == 3
    assert recipe["config"]["width"] == 64
    assert "class" in recipe["cond"]
    assert "class" not in recipe["first"]["cond"]


def test_a_trained_autoencoder_is_taken_as_it_is(cli, runs):
    assert cli("train", "digits", "--family", "tinyvae", "-o", "steps=40", "-q")[0] == 0
    code, out, err = cli("train", "digits", "--codec", "digits-tinyvae", "--family", "tinyflow", *SMALL["tinyflow"], "-q")
    assert code == 0, err
    stage = Path(out.strip()) / "stages" / "tinyvae"
    assert not (stage / "events.jsonl").exists(), "nothing is trained again"
    theirs = runs / "digits-tinyvae" / "model" / "model.safetensors"
    assert (stage / "model" / "model.safetensors").read_bytes() == theirs.read_bytes()
    code, _, err = cli("train", "digits", "--codec", "digits-tinyvae", "--family", "tinyflow", "-o", "depth=2", "-q")
    assert (code, err.count("\n")) == (2, 1)
    assert "trained already" in err
    code, _, err = cli("train", "digits", "--codec", "digits-tinyvae", "--family", "gpt", "-q")
    assert (code, err.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--family", "gpt+tinyflow"], ["gpt has no codes", "tinyvae+tinyflow"]),
        (["--family", "tinyvae+nothing"], ["no family called nothing"]),
        (["--family", "tinyvae+"], ["no family called"]),
        (["--family", "tinyvae+tinyflow", "-o", "wdith=3"], ["Did you mean width"]),
        (["--family", "tinyvae+tinyflow", "-o", "flow.width=3"], ["tinyvae.KEY"]),
        (["--family", "tinyvae+gpt", "-o", "quantise=no"], ["gpt writes tokens"]),
        (["--codec", "nowhere"], ["nowhere"]),
    ],
)
def test_what_cannot_work_is_one_sentence(arguments, words, cli):
    code, _, err = cli("train", "digits", *arguments, "-q")
    assert (code, err.count("\n")) == (2, 1)
    for word in words:
        assert word in err


def test_texts_have_no_stages(cli, tmp_path):
    (tmp_path / "a.txt").write_text("some words " * 400)
    code, _, err = cli("train", tmp_path / "a.txt", "--family", "tinyvae+gpt", "-q")
    assert (code, err.count("\n")) == (2, 1)
    assert "gpt" in err


def started(folder):
    command = [sys.executable, "-m", "mintage.surfaces.cli", *wish("tinyflow", "-o", "tinyvae.steps=900"), "--runs", str(folder)]
    command[command.index("steps=60")] = "steps=900"
    own = {**os.environ, "MINTAGE_THREADS": "1", "MINTAGE_PLUGINS": str(PLUGINS)}
    return subprocess.Popen(command, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def killed_at(folder, sign):
    """Kill −9 as soon as a file of this pattern is there."""
    with started(folder) as process:
        end = time.monotonic() + 60
        while not list(folder.glob(sign)) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.1)
        assert process.poll() is None, process.stderr.read().decode()
        process.send_signal(signal.SIGKILL)


def finished(folder):
    with started(folder) as process:
        assert process.wait(90) == 0, process.stderr.read().decode()
    (path,) = folder.glob("*/model/model.safetensors")
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.timeout(200)
def test_killed_in_either_stage_it_ends_in_the_same_bytes(tmp_path):
    whole = finished(tmp_path / "whole")
    killed_at(tmp_path / "killed", "*/stages/*/checkpoints/step_*")
    assert not list((tmp_path / "killed").glob("*/checkpoints"))
    killed_at(tmp_path / "killed", "*/checkpoints/step_*")
    assert not list((tmp_path / "killed").glob("*/finished.json"))
    assert finished(tmp_path / "killed") == whole


@pytest.mark.parametrize("last", SMALL)
def test_codes_made_once_are_those_of_every_step(last, cli, runs):
    from dataclasses import replace

    from mintage.nn.noise import Noise
    from mintage.verbs.dataset import reopen
    from mintage.verbs.load import load
    from mintage.verbs.stages import Codes, coded

    code, out, err = cli(*wish(last, "-o", "augment=no"))
    assert code == 0, err
    loaded = load(out.strip())
    dataset = reopen(loaded.recipe, loaded.codec)
    once = coded(loaded.model, replace(loaded.recipe, dtype="float32"), dataset)
    assert isinstance(once, Codes)
    for step in (0, 3):
        mine = once.batch(step, 16, 1, Noise("b"))
        theirs = loaded.model.inside(dataset.batch(step, 16, 1, Noise("b")))
        assert torch.allclose(mine.x.float(), theirs.x.float(), atol=1e-4)
        assert torch.equal(mine.length, theirs.length)
        assert torch.equal(mine.cond["class"], theirs.cond["class"])
        assert loaded.model.inside(mine) is mine
    few = Codes(loaded.model, dataset, "bfloat16", 16)
    assert few.batch(0, 16, 1, Noise("b")).x.shape == mine.x.shape
    altered = replace(loaded.recipe, training={**loaded.recipe.training, "augment": "yes"})
    assert coded(loaded.model, altered, dataset) is dataset, "altered copies have codes of their own"


def test_what_only_training_needs_is_missed_in_neither_stage(runs):
    from mintage.core import registry
    from mintage.core.spec import Spec
    from mintage.nn.staged import Staged

    class Part(torch.nn.Module):
        scaffold = ("critic",)
        latent = Spec("grid", (2, 2, 2), ("channel", "height", "width"))

        def __init__(self):
            super().__init__()
            self.critic, self.net = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)

    both = Staged(Part(), Part())
    kept = {name: value for name, value in both.state_dict().items() if "critic" not in name}
    both.load_state_dict(kept)
    with pytest.raises(RuntimeError, match="net"):
        both.load_state_dict({name: value for name, value in kept.items() if "second.net" not in name})
    assert registry.get("families", "vae").codes.keys() == {"grid", "tokens"}


def test_changed_data_starts_both_stages_from_the_old_weights(cli, runs, tmp_path):
    from PIL import Image

    folder = tmp_path / "dots"
    folder.mkdir()
    for i in range(40):
        Image.new("L", (8, 8), 5 * i).save(folder / f"{i}.png")
    more = ["--family", "tinyvae+tinyflow", "-o", "steps=5", "-o", "tinyvae.steps=5", "-o", "width=16", "-q"]
    assert cli("train", folder, *more)[0] == 0
    Image.effect_noise((8, 8), 90).save(folder / "new.png")
    code, out, err = cli("train", folder, *more)
    assert code == 0, err
    run = Path(out.strip())
    assert run.name == "dots-tinyvae-tinyflow-2"
    assert recipe_of(run / "stages" / "tinyvae")["parent"] == str(runs / "dots-tinyvae-tinyflow" / "stages" / "tinyvae" / "model")
    assert err.count("It starts from") == 2
