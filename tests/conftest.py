"""Every test runs in its own folders, in English, without a network."""

import os
import socket
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parent / "plugins"


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    os.environ["MINTAGE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["MINTAGE_LANG"] = "en"
    os.environ.pop("MINTAGE_RUNS", None)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(self, address):
        raise AssertionError(f"a test tried to connect to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A folder of runs of one's own, and the one-file family of the tests."""
    folder = tmp_path / "runs"
    monkeypatch.setenv("MINTAGE_RUNS", str(folder))
    monkeypatch.setenv("MINTAGE_PLUGINS", str(PLUGINS))
    return folder


@pytest.fixture
def cli(runs, capsys):
    """Run the command line in this process: ``code, out, err = cli("make", "digits")``."""

    def run(*args):
        from mintage.surfaces.cli import main

        with pytest.raises(SystemExit) as stop:
            main([str(arg) for arg in args])
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return run
