"""A modality is one file: the maps of tests/plugins go through the whole loop, nothing else changed."""

import json
from pathlib import Path

import numpy as np
import pytest

PLUGIN = Path(__file__).parents[1] / "plugins" / "modalities" / "terrain.py"
HEAD = "ncols 16\nnrows 16\nxllcorner 0\nyllcorner 0\ncellsize 1\n"


@pytest.fixture
def maps(tmp_path):
    """120 hills, each somewhere else, and a file that is none."""
    folder = tmp_path / "maps"
    folder.mkdir()
    draw = np.random.default_rng(0)
    down, right = np.mgrid[:16, :16]
    for k in range(120):
        y, x = draw.uniform(3, 13, 2)
        heights = 300 + 900 * np.exp(-((down - y) ** 2 + (right - x) ** 2) / draw.uniform(8, 30))
        rows = "\n".join(" ".join(f"{value:.1f}" for value in row) for row in heights)
        (folder / f"hill{k:03d}.asc").write_text(HEAD + rows)
    (folder / "torn.asc").write_text(HEAD + "12 x")
    return folder


def test_the_file_is_small():
    assert len(PLUGIN.read_text().splitlines()) <= 80


def test_the_whole_loop_on_maps(cli, runs, maps):
    code, out, err = cli("inspect", maps, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["modality"] == "terrain"
    assert 100 < found["items"] == found["sizes"]["16×16"], "near-copies are set aside by the codec's own fingerprint"
    assert "torn.asc" in out
    code, out, err = cli("make", maps, "--family", "tinyflow", "--minutes", "0.5", "-o", "steps=60", "-q", "--json")
    assert code == 0, err
    run = runs / "maps-tinyflow"
    sheets = list((run / "samples").glob("*.png"))
    assert sheets, "a page of how the maps look is shown while it learns"
    assert "<img" in (run / "report" / "report.html").read_text()
    made = sorted((run / "outputs").glob("*.asc"))
    assert len(made) == 16
    heights = np.loadtxt(made[0], skiprows=5)
    assert heights.shape == (16, 16)
    assert 200 < heights.min() < heights.max() < 1300, "in metres, as the files that came in"
    code, out, err = cli("verify", made[0])
    assert "implicit label: compliant" in out
