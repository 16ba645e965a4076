"""The report in a real browser: it opens from a file, asks for nothing, and shows the verdict. Skipped without Chromium."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND",
]  # fmt: skip

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report of a small model of digits."""
    import os

    from mintage.verbs.evaluate import evaluate
    from mintage.verbs.plan import Wish
    from mintage.verbs.train import train

    os.environ["MINTAGE_PLUGINS"] = str(Path(__file__).parents[1] / "plugins")
    folder = tmp_path_factory.mktemp("report")
    run = train(Wish("digits", family="tinyflow", options=("steps=300",)), runs=str(folder)).run
    report = evaluate(str(run))
    return report, run / "report" / "report.html"


def browse(page, folder, *flags):
    return subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", *flags, page.as_uri()], capture_output=True, text=True, timeout=120
    )


def test_it_shows_the_verdict_and_every_picture(page, tmp_path):
    report, path = page
    dom = browse(path, tmp_path, "--dump-dom").stdout
    assert report.verdict.word in dom.lower()
    images = re.findall(r"<img[^>]*>", dom)
    assert len(images) > 20
    assert all('alt="' in tag for tag in images)


def test_it_asks_for_nothing_from_outside(page):
    text = page[1].read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=[\"'](?!data:|#)[^\"']+", text)
    assert "Content-Security-Policy" in text


def test_it_draws(page, tmp_path):
    picture = tmp_path / "page.png"
    browse(page[1], tmp_path / "profile", f"--screenshot={picture}", "--window-size=1000,1400")
    from PIL import Image

    with Image.open(picture) as found:
        assert found.size == (1000, 1400)
        assert len(found.convert("L").getcolors(256) or range(257)) > 30
