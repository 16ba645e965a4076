"""The laws of the house, read from the code itself: imports, borders, randomness, start-up, flags, names."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mintage

ROOT = Path(mintage.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
LAYERS = {
    "core": 0,
    "nn": 1,
    "modalities": 2,
    "families": 2,
    "tasks": 2,
    "metrics": 2,
    "trust": 2,
    "verbs": 3,
    "surfaces": 4,
}


def imports(path: Path) -> list[str]:
    """Modules of Mintage that a file imports, as dotted paths below the package."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mintage":
            inner = (node.module or "").removeprefix("mintage").lstrip(".")
            found += [inner] if inner else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [alias.name.removeprefix("mintage.") for alias in node.names if alias.name.startswith("mintage.")]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path):
    room = path.relative_to(ROOT).parts[0]
    if room not in LAYERS:
        return
    for target in imports(path):
        other = target.split(".")[0]
        if other not in LAYERS or other == room:
            continue
        assert LAYERS[other] < LAYERS[room], f"{path.name} in {room} imports {target}"


def calls(name: str, room: str) -> list[str]:
    """Lines in a room that call ``name`` (dotted)."""
    found = []
    for path in sorted((ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == name:
                found.append(f"{path.name}:{node.lineno}")
    return found


def test_one_way_in_and_one_way_out():
    assert len(calls("trust.admit", "verbs")) == 1
    assert len(calls("trust.release", "verbs")) == 1
    for room in ("surfaces", "families", "metrics"):
        assert not calls("trust.admit", room) + calls("trust.release", room)


def test_no_global_random_generator():
    forbidden = re.compile(
        r"torch\.(randn|rand|randint|randperm|normal|bernoulli|multinomial|manual_seed|seed)\b|F\.dropout|nn\.Dropout"
        r"|np\.random|numpy\.random|^import random|^from random|\.(normal_|uniform_|bernoulli_|random_|exponential_)\("
    )
    for path in FILES:
        if path.name == "noise.py":
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            code = line.split("#")[0]
            if "generator=" in code:
                continue
            assert not forbidden.search(code) or "init." in code, f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


def test_no_pickle_no_eval_no_sockets():
    forbidden = re.compile(
        r"\b(torch\.load|pickle\.|import pickle|eval\(|exec\(|os\.system|import (urllib|requests|httpx|socket))\b"
    )
    for path in FILES:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            code = line.split("#")[0].replace(".eval()", "").replace("allow_pickle=False", "").replace("exec_module(", "")
            if '"""' in code or "``" in code or not forbidden.search(code):
                continue
            pytest.fail(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")


def test_help_needs_no_torch_and_is_quick():
    code = "import sys, time; t = time.process_time(); import mintage.surfaces.cli as c\ntry:\n c.app(['--help'])\nexcept SystemExit: pass\nprint(time.process_time() - t, 'torch' in sys.modules, file=sys.stderr)"
    times = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        seconds, torch = done.stderr.split()[-2:]
        assert torch == "False"
        times.append(float(seconds))
    assert min(times) < 0.3


def test_core_imports_no_torch_at_top_level():
    done = subprocess.run(
        [sys.executable, "-c", "import mintage.core.spec, mintage.core.store, mintage.core.protocols, mintage.core.machine, mintage.core.config, sys; print('torch' in sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "False"


FLAGS = {
    "make": {"--minutes", "--family", "--size", "--seed", "--name", "--from", "-o", "--dry-run", "--runs", "--json", "--quiet", "-q", "--verbose"},
    "inspect": {"-o", "--json", "--quiet", "-q", "--verbose"},
    "train": {"--family", "--task", "--minutes", "--size", "--seed", "--name", "--from", "--codec", "-o", "--dry-run", "--profile", "--runs", "--json", "--quiet", "-q", "--verbose"},
    "generate": {"-n", "--seed", "--prompt", "--given", "--out", "--with", "-o", "--runs", "--json", "--quiet", "-q", "--verbose"},
    "evaluate": {"--seed", "--gate", "--runs", "--json", "--quiet", "-q", "--verbose"},
    "compare": {"--families", "--minutes", "--size", "--seed", "--name", "-o", "--runs", "--json", "--quiet", "-q", "--verbose"},
    "verify": {"--json", "--verbose"},
    "list": {"--json", "--verbose"},
    "explain": {"--runs", "--json", "--verbose"},
    "doctor": {"--json", "--verbose"},
}  # fmt: skip


def test_flags_are_frozen():
    import typer

    from mintage.surfaces.cli import app

    group = typer.main.get_command(app)
    found = {}
    for name, command in group.commands.items():
        options = [p for p in command.params if p.param_type_name == "option"]
        found[name] = {flag for p in options for flag in (*p.opts, *p.secondary_opts)} - {"--help", "-h"}
    assert found == FLAGS


def test_public_names():
    assert set(mintage.__all__) == {
        "make",
        "inspect",
        "train",
        "generate",
        "evaluate",
        "compare",
        "explain",
        "verify",
        "load",
        "__version__",
    }
    for name in mintage.__all__:
        assert getattr(mintage, name) is not None


def sentences() -> set[str]:
    """Every English sentence given to ``say``."""
    found = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) == "say"
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                found.add(node.args[0].value)
    return found


def strings() -> set[str]:
    """Every string in the source, case aside: what reaches ``say`` through a table or a variable, such as metric names."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in FILES)
    nodes = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {node.value.casefold() for node in nodes if isinstance(node.value, str)}


def test_every_sentence_is_translated_with_the_same_fields():
    words = json.loads((ROOT / "core" / "words.zh.json").read_text(encoding="utf-8"))
    missing = sorted(sentences() - set(words))
    assert not missing, f"{len(missing)} sentences without Chinese: {missing[:5]}"
    known = strings()
    unused = sorted(key for key in set(words) - sentences() if key.casefold() not in known)
    assert not unused, f"{len(unused)} translations of nothing: {unused[:5]}"
    for english, chinese in words.items():
        assert set(re.findall(r"{(\w+)", english)) == set(re.findall(r"{(\w+)", chinese)), english


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_readable(path):
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), f"{path.name} has no docstring"
    assert len(text.splitlines()) <= 450
    assert path.stem not in {"utils", "misc", "helpers", "legacy"}
