"""The command line as a person meets it: the loop, the same seeds again, and every bad request in one sentence."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mintage

TINY = ["--family", "tinyflow", "-o", "steps=200", "-q"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small model of digits, made once."""
    from mintage.verbs.plan import Wish
    from mintage.verbs.train import train

    folder = tmp_path_factory.mktemp("trained")
    os.environ["MINTAGE_PLUGINS"] = str(Path(__file__).parents[1] / "plugins")
    return train(Wish("digits", family="tinyflow", options=("steps=200",)), runs=str(folder)).run


def hashes(cli, model, *args):
    code, out, err = cli("generate", model, "--json", "-q", *args)
    assert code == 0, err
    return json.loads(out)["hashes"]


def test_sample_k_is_the_same_alone_among_others_and_after_a_restart(cli, trained, tmp_path):
    many = hashes(cli, trained, "-n", "32", "--seed", "100", "--out", tmp_path / "a")
    assert len(set(many)) == 32
    for k in (0, 7, 31):
        assert hashes(cli, trained, "-n", "1", "--seed", 100 + k, "--out", tmp_path / "b") == [many[k]]
    done = subprocess.run(
        [sys.executable, "-m", "mintage.surfaces.cli", "generate", str(trained), "-n", "3", "--seed", "105", "--json", "-q", "--out", str(tmp_path / "c")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["hashes"] == many[5:8]


def test_five_different_requests_give_the_same_sample(cli, trained, tmp_path):
    requests = [
        ("-n", "1", "--seed", "42"), ("-n", "4", "--seed", "40"), ("-n", "70", "--seed", "0"),
        ("-n", "1", "--seed", "42", "--given", "class=2"), ("-n", "3", "--seed", "42", "--out", tmp_path / "elsewhere"),
    ]  # fmt: skip
    found = [
        hashes(cli, trained, "--out", tmp_path / "x", *r)[position] for r, position in zip(requests, (0, 2, 42, 0, 0), strict=True)
    ]
    assert len(set(found)) == 1, "42 mod 10 is class 2, so all five ask for the same thing"


def test_files_are_labelled_and_verified(cli, trained, tmp_path):
    code, out, _ = cli("generate", trained, "-n", "2", "--out", tmp_path / "o", "-q")
    assert code == 0
    first = out.split()[0]
    code, out, _ = cli("verify", first, "--json")
    assert code == 0
    assert "AIGC" in out or "ai" in out.lower()


def test_explain_names_files_and_lines_that_exist(cli, trained):
    code, out, err = cli("explain", trained, "--json")
    assert code == 0, err
    root = Path(mintage.__file__).parent.parent
    for hop in json.loads(out):
        file, _, line = hop["where"].rpartition(":")
        path = root / file if (root / file).exists() else Path(file)
        assert "def " in path.read_text().splitlines()[int(line) - 1] + path.read_text().splitlines()[int(line)]


def test_it_says_which_version_it_is(cli):
    code, out, err = cli("--version")
    assert (code, out, err) == (0, f"mintage {mintage.__version__}\n", "")
    done = subprocess.run([sys.executable, "-m", "mintage", "--version"], check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout == out


def test_doctor_and_list_speak(cli):
    assert cli("doctor", "--json")[0] == 0
    code, out, _ = cli("list", "--json")
    assert code == 0
    assert {"image", "text"} <= set(json.loads(out)["modalities"])


def test_results_on_stdout_progress_on_stderr(cli, runs):
    code, out, err = cli("train", "digits", "--family", "tinyflow", "-o", "steps=30")
    assert code == 0
    assert out.strip() == str(runs / "digits-tinyflow")
    assert "digits" in err


def test_dry_run_writes_no_run(cli, runs):
    code, out, _ = cli("train", "digits", "--family", "tinyflow", "--dry-run", "--json", "-q")
    assert code == 0
    assert json.loads(out)["family"] == "tinyflow"
    assert not (runs / "digits-tinyflow").exists()


def empty(folder):
    (folder / "empty").mkdir()
    return folder / "empty"


def written(path, text):
    path.write_text(text)
    return path


def pipe(folder):
    os.mkfifo(folder / "pipe.png")
    return folder / "pipe.png"


def array(folder, values):
    np.save(folder / "a.npy", values)
    return folder / "a.npy"


def plugin(folder, text):
    (folder / "families").mkdir()
    written(folder / "families" / "mine.py", text)
    os.environ["MINTAGE_PLUGINS"] = str(folder)  # the fixture puts it back
    return "mine"


BAD = {
    "missing path": (lambda f: ["make", f / "no-such-folder"], 2, "no-such-folder"),
    "empty folder": (lambda f: ["make", empty(f)], 2, "empty"),
    "unknown family": (lambda f: ["train", "digits", "--family", "flwo"], 2, "flow"),
    "wrong medium": (lambda f: ["train", "digits", "--family", "gpt"], 2, "flow"),
    "unknown task": (lambda f: ["train", "digits", "--task", "superbe"], 2, "generate"),
    "minutes 0": (lambda f: ["make", "digits", "--minutes", "0"], 2, "--minutes"),
    "minutes negative": (lambda f: ["train", "digits", "--minutes", "-3"], 2, "--minutes"),
    "minutes word": (lambda f: ["train", "digits", "--minutes", "five"], 2, "minutes"),
    "misspelt key": (lambda f: ["train", "digits", "--family", "tinyflow", "-o", "widht=3"], 2, "width"),
    "no value": (lambda f: ["train", "digits", "--family", "tinyflow", "-o", "width"], 2, "width=VALUE"),
    "wrong type": (lambda f: ["train", "digits", "--family", "tinyflow", "-o", "width=wide"], 2, "whole number"),
    "bad size": (lambda f: ["train", "digits", "--size", "huge"], 2, "--size"),
    "unknown model": (lambda f: ["generate", "nobody"], 2, "nobody"),
    "no samples": (lambda f: ["generate", "MODEL", "-n", "0"], 2, "-n"),
    "unknown class": (lambda f: ["generate", "MODEL", "--given", "class=eleven"], 2, "eleven"),
    "unknown class without its name": (lambda f: ["generate", "MODEL", "--given", "eleven"], 2, "class called eleven"),
    "unknown condition": (lambda f: ["generate", "MODEL", "--given", "mood=sad"], 2, "class"),
    "prompt for digits": (lambda f: ["generate", "MODEL", "--prompt", "a red cat"], 2, "--prompt"),
    "unknown knob": (lambda f: ["generate", "MODEL", "-o", "stepz=3"], 2, "steps"),
    "not a file": (lambda f: ["verify", f / "nothing.png"], 2, "nothing.png"),
    "batch 0": (lambda f: ["train", "digits", "--family", "tinyflow", "-o", "batch=0"], 2, "batch=0"),
    "lr not a number": (lambda f: ["train", "digits", "--family", "tinyflow", "-o", "lr=nan"], 2, "lr=nan"),
    "share above 1": (lambda f: ["train", "digits", "--family", "tinyflow", "-o", "decay=2"], 2, "decay=2"),
    "endless steps": (lambda f: ["generate", "MODEL", "-o", f"steps={10**20}"], 2, "steps"),
    "uneven heads": (lambda f: ["train", written(f / "a.txt", "line of text\n" * 50), "-o", "heads=7"], 2, "heads=7"),
    "a pipe": (lambda f: ["inspect", pipe(f)], 2, "pipe"),
    "a name that is not UTF-8": (lambda f: ["inspect", written(f / "\udcff.txt", "text")], 2, "mintage: "),
    "a name too long": (lambda f: ["inspect", "x" * 5000], 2, "too long"),
    "an array of text": (lambda f: ["inspect", array(f, np.full((20, 8, 8), "ab"))], 2, "holds no pictures"),
    "an array of nothing": (lambda f: ["inspect", array(f, np.ones((20, 0, 8)))], 2, "a.npy"),
    "an array of no numbers": (lambda f: ["inspect", array(f, np.full((20, 8, 8), np.nan))], 2, "not numbers"),
    "a plug-in that raises": (lambda f: ["train", "digits", "--family", plugin(f, "1 / 0")], 1, "ZeroDivisionError"),
    "a plug-in that is no Python": (lambda f: ["train", "digits", "--family", plugin(f, "def (")], 1, "SyntaxError"),
    "a name that climbs": (lambda f: ["train", "digits", "--family", "tinyflow", "--name", "../x"], 2, "--name"),
    "unknown flag": (lambda f: ["make", "digits", "--epochs", "3"], 2, "--epochs"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_one_sentence(name, cli, trained, tmp_path):
    args, code, word = BAD[name]
    args = [trained if a == "MODEL" else a for a in args(tmp_path)]
    found, out, err = cli(*args)
    assert found == code, err
    assert not out
    lines = [line for line in err.splitlines() if line.startswith("mintage: ")]
    assert len(lines) == 1
    assert word in lines[0]
    assert "Traceback" not in err
    assert "Unexpected" not in err


@pytest.mark.parametrize("part", ["card.json", "model.safetensors"])
@pytest.mark.parametrize("harm", ["missing", "cut", "garbage"])
def test_a_corrupted_model_folder_is_named(part, harm, cli, trained, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(trained, copy)
    shutil.copytree(trained / "model", copy / "live", dirs_exist_ok=True)  # of an earlier moment: not taken for the model
    path = copy / "model" / part
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:50] if harm == "cut" else b"\x00garbage" * 30)
    code, out, err = cli("generate", copy, "-q")
    assert code == 1, err
    assert not out
    assert "Traceback" not in err
    assert "Unexpected" not in err


@pytest.mark.parametrize("content", ["", "null", "[]", "{}", "[" * 100_000])
@pytest.mark.parametrize("name", ["recipe.json", "finished.json", "checkpoints/step0.json"])
def test_a_damaged_file_of_a_run_is_named(name, content, cli, trained, tmp_path):
    copy = tmp_path / trained.name
    shutil.copytree(trained, copy)
    (copy / name).write_text(content)
    if name != "finished.json":
        (copy / "finished.json").unlink()
    code, _, err = cli("train", "digits", *TINY, "--runs", tmp_path)
    assert code == 1, err
    assert name in err
    assert "Unexpected" not in err


def test_rows_that_are_no_rows_are_passed_over(cli, trained, tmp_path):
    copy = tmp_path / trained.name
    shutil.copytree(trained, copy)
    (copy / "finished.json").unlink()
    for name in ("journal.jsonl", "events.jsonl"):
        with open(copy / name, "a") as file:
            file.write('null\n[]\n3\n{"kind"')
    code, _, err = cli("train", "digits", *TINY, "--runs", tmp_path)
    assert code == 0, err


def test_a_text_of_one_character_trains(cli, runs, tmp_path):
    code, _, err = cli("train", written(tmp_path / "one.txt", "a"), "-o", "steps=2", "--minutes", "0.05", "-q")
    assert code == 0, err


def test_names_that_are_not_utf8_and_empty_captions_are_set_aside(cli, tmp_path):
    for name in (b"\xff.png", b"a.png", b"b.png"):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        Image.fromarray(np.random.default_rng(len(name)).integers(0, 255, (16, 16), dtype=np.uint8)).save(path)
    (tmp_path / "a.txt").write_text("")
    code, out, err = cli("inspect", tmp_path, "--json", "-q")
    assert code == 0, err
    reasons = [row["reason"] for row in json.loads(out)["set_aside"]]
    assert any("UTF-8" in reason for reason in reasons)
    assert any("caption" in reason for reason in reasons)


def test_a_stdout_that_is_closed_or_full():
    command = [sys.executable, "-m", "mintage.surfaces.cli", "list"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.count("mintage: ") == 1
    assert done.stderr.count("\n") == 1
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path):
    """A file size limit stands in for a full disk: the write fails, the message says so, what was saved is intact."""
    script = (
        "import resource, sys\n"
        "from mintage.surfaces.cli import main\n"
        "import mintage.core.store as store\n"
        "write = store.write_bytes\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "main(sys.argv[1:])\n"
    )
    env = {**os.environ, "MINTAGE_PLUGINS": str(Path(__file__).parents[1] / "plugins")}
    args = [
        "train",
        "digits",
        "--family",
        "tinyflow",
        "-o",
        "steps=60",
        "-o",
        "width=512",
        "-q",
        "--runs",
        str(tmp_path / "full"),
    ]
    done = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, env=env)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("mintage: ") == 1
    assert "could not be written" in done.stderr
    again = subprocess.run([sys.executable, "-m", "mintage.surfaces.cli", *args], capture_output=True, text=True, env=env)
    assert again.returncode == 0, again.stderr


def test_a_runs_folder_that_cannot_be_written(cli, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, _, err = cli("train", "digits", *TINY, "--runs", tmp_path / "file" / "runs")
    assert code == 1
    assert "could not be written" in err
    assert "Traceback" not in err


def test_chinese_from_the_first_sentence(cli, monkeypatch, tmp_path):
    monkeypatch.setenv("MINTAGE_LANG", "zh")
    code, _, err = cli("make", "digits", "--minutes", "0")
    assert code == 2
    assert any("一" <= c <= "鿿" for c in err)


def test_a_caption_model_says_which_words_it_has_hardly_read_and_asks_by_itself_for_what_its_data_say(cli, tmp_path):
    words = ("red square", "green square", "blue square")
    (tmp_path / "data").mkdir()
    for k in range(30):
        picture = np.random.default_rng(k).integers(0, 60, (16, 16, 3), dtype=np.uint8)
        picture[4:12, 4:12, k % 3] = 220
        Image.fromarray(picture).save(tmp_path / "data" / f"{k:02d}.png")
        (tmp_path / "data" / f"{k:02d}.txt").write_text(words[k % 3])
    code, out, err = cli("train", tmp_path / "data", "-o", "steps=2", "-q", "--json")
    assert code == 0, err
    run, where = json.loads(out)["run"], ("--out", tmp_path / "o")
    by_seed = {seed: hashes(cli, run, "-n", "1", "--seed", seed, *where)[0] for seed in range(3)}
    asked = {
        seed: {hashes(cli, run, "-n", "1", "--seed", seed, "--prompt", said, *where)[0] for said in words} for seed in range(3)
    }
    assert all(by_seed[seed] in asked[seed] for seed in range(3))
    code, _, err = cli("generate", run, "-n", "3", *where)
    assert code == 0
    (said,) = (line for line in err.splitlines() if "captions of the data" in line)
    assert sorted(said.split(": ", 1)[1].rstrip(".").split(" · ")) == sorted(words)
    code, _, err = cli("generate", run, "-n", "1", "--prompt", "Red zebra, square", *where)
    assert code == 0
    assert "zebra, so" in err
    assert "red" not in err.split("hardly ever say", 1)[1].split("\n")[0]


def test_another_request_with_the_same_seed_overwrites_nothing(cli, trained, tmp_path):
    for asked in ("class=2", "class=5"):
        assert cli("generate", trained, "-n", "1", "--given", asked, "--out", tmp_path / "o", "-q")[0] == 0
    assert len(list((tmp_path / "o").glob("seed0000-*.png"))) == 2
