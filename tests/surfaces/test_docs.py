"""The documentation is run: every block marked runnable, in one workshop of small data, on tiny budgets.

A fenced block is marked by its info string: ``console runnable`` runs the lines that begin with ``$ mintage``,
``python runnable`` executes, ``python runnable FILE`` is written to that file first. A command that several pages show
runs once.
"""

import ast
import contextlib
import glob
import io
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from mintage.nn import midi, tune

ROOT = Path(__file__).parents[2]
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
PAGES = [*READMES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+) runnable ?(\S*)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")
BRANCH = re.compile(r"^[│ ]*[├└]── (\S+)", re.M)
FIRST = ("mintage make digits --minutes 0.1", "mintage train poems.txt --minutes 0.05")


class Workshop:
    """A folder with data, and what was already run in it."""

    def __init__(self, folder):
        self.folder, self.done = folder, set()
        for number in range(40):
            path = folder / "photos" / ("warm" if number % 2 else "cold") / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows, columns = np.mgrid[:24, :24]
            wave = np.sin(rows * number / 40 + 1) * np.cos(columns * (40 - number) / 30) * 100 + 128
            channels = (wave, wave * 0.5, wave * 0.2) if number % 2 else (wave * 0.2, wave * 0.5, wave)
            Image.fromarray(np.stack(channels, 2).astype(np.uint8)).save(path)
        (folder / "photos" / "torn.png").write_bytes(path.read_bytes()[:100])
        for number in range(40):
            time, pitch = np.arange(2400 + 40 * number) / 8000, (900 if number % 2 else 300) + 20 * number
            wave = np.sin(2 * np.pi * pitch * time) * np.exp(-9 * time) / 3
            (folder / "bells").mkdir(exist_ok=True)
            soundfile.write(folder / "bells" / f"{'high' if number % 2 else 'low'}_{number}.wav", wave * (1 + number / 40), 8000)
        across = np.arange(32)
        for number in range(40):
            (folder / "clips" / ("right" if number % 2 else "left")).mkdir(parents=True, exist_ok=True)
            places = [4 + number % 8 + (t if number % 2 else 12 - t) for t in range(12)]
            spots = [np.exp(-((across - x) ** 2)[None] / 9 - ((across - 4 - number % 24) ** 2)[:, None] / 9) for x in places]
            first, *rest = [Image.fromarray((40 + 200 * spot).astype(np.uint8)) for spot in spots]
            name = folder / "clips" / ("right" if number % 2 else "left") / f"{number}.gif"
            first.save(name, save_all=True, append_images=rest, duration=80, loop=0)
        words = [f"The river {a} the {b} and the {c} {d}." for a in ("sees", "takes") for b in ("moon", "reed", "boat", "night")
                 for c in ("wind", "heron", "rain", "old man") for d in ("waits", "sleeps", "sings", "is gone")]  # fmt: skip
        lines = [words[i * 37 % len(words)] for i in range(len(words))]
        (folder / "poems.txt").write_text("\n".join(lines), encoding="utf-8")
        cues = [f"{i}\n00:00:{i % 60:02d},000 --> 00:00:{i % 60:02d},900\n{line}\n" for i, line in enumerate(words, 1)]
        (folder / "film.srt").write_text("\n".join(cues), encoding="utf-8")
        (folder / "tunes").mkdir()
        for number in range(40):  # walks up and down a scale over a bass
            steps = np.cumsum(np.resize([1, 1, -1, 2, -3, 1, 2, -2], 48) * (1 if number % 2 else -1)) + number
            notes = [(12 * k, 12, 60 + int(step % 12), 90, 0, 0) for k, step in enumerate(steps)]
            notes += [(48 * k, 48, 36 + number % 7, 80, 1, 0) for k in range(12)]
            own = tune.joined(tune.barred([(0, 4, 4)], [], 576), np.array(notes, np.int32))
            (folder / "tunes" / f"reel{number}.mid").write_bytes(midi.write(own))

    def command(self, line):
        """One command line in this process; it must end with 0."""
        from mintage.surfaces.cli import main

        if line in self.done:
            return
        self.done.add(line)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
            main([found for word in shlex.split(line)[1:] for found in sorted(glob.glob(word)) or [word]])  # as a shell does
        assert stop.value.code == 0, f"{line}\n{out.getvalue()}{err.getvalue()}"

    def block(self, page, kind, file, body):
        """One block of a page."""
        if kind == "console":
            lines = [line.removeprefix("$ ").split("  #")[0].strip() for line in body.splitlines() if line.startswith("$ ")]
            assert lines, f"{page.name}: a runnable block without a command"
            for line in lines:
                assert line.startswith("mintage "), f"{page.name}: {line}"
                self.command(line)
        elif file:
            (self.folder / file).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / file).write_text(body, encoding="utf-8")
        else:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(body, page.name, "exec"), {"__name__": "__main__"})


def blocks(page):
    return [match.groups() for match in BLOCK.finditer(page.read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """Two small models, trained by the commands that the docs begin with."""
    folder = tmp_path_factory.mktemp("workshop")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MINTAGE_RUNS", raising=False)
        patch.setenv("MINTAGE_PLUGINS", str(folder / "plugins"))
        shop = Workshop(folder)
        for line in FIRST:
            shop.command(line)
        yield shop


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(page, workshop):
    for kind, file, body in blocks(page):
        workshop.block(page, kind, file, body)


@pytest.mark.parametrize("name", ["pictures.py", "text.py"])
def test_examples_run(name, workshop, monkeypatch):
    path = ROOT / "examples" / name
    monkeypatch.setattr(sys, "argv", [str(path), "0.05"])
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(path.read_text(encoding="utf-8"), name, "exec"), {"__name__": "__main__"})
    assert out.getvalue().strip()


def test_both_readmes_run_the_same():
    kinds = [
        [(kind, [line for line in body.splitlines() if line.startswith("$ ")]) for kind, _, body in blocks(page)]
        for page in READMES
    ]
    assert kinds[0] == kinds[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", READMES, ids=lambda page: page.name)
def test_the_tree_names_every_file(page):
    text = page.read_text(encoding="utf-8")
    named = BRANCH.findall(text[text.rindex("```text") :])
    rooms = ("src", "tests", "docs", "examples", "benchmarks")
    found = [p for room in rooms for p in (ROOT / room).rglob("*") if p.is_file()]
    made = re.compile(r"/\.|__pycache__|_cache|\.egg-info|/node_modules/|/__init__\.py$")  # by tools, or empty
    wanted = sorted(p.name for p in found if not made.search(p.relative_to(ROOT).as_posix()))
    missing = {name for name in wanted if named.count(name) < wanted.count(name)}
    assert not missing, f"not in the tree of {page.name}: {sorted(missing)}"
    gone = {name for name in named if "." in name and not name.startswith(".") and not list(ROOT.rglob(name))}
    assert not gone, f"in the tree of {page.name} and not on the disk: {sorted(gone)}"


def test_commands_md_shows_the_frozen_flags():
    import typer

    from mintage.surfaces.cli import app

    rows = re.findall(r"^\| `(\w+)[^|]*\| ([^|]*)\|$", (ROOT / "docs" / "commands.md").read_text(encoding="utf-8"), re.M)
    shown = {name: set(re.findall(r"`(--?[a-z-]+)", flags)) for name, flags in rows}
    for name, command in typer.main.get_command(app).commands.items():
        flags = {flag for p in command.params if p.param_type_name == "option" for flag in p.opts}
        assert shown[name] == flags - {"--json", "--verbose", "--help", "-h", "-q"}, name


def test_every_python_block_parses():
    for page in PAGES:
        for body in re.findall(r"^```python[^\n]*\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S):
            ast.parse(body)
