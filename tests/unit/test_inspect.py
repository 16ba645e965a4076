"""Looking at data: an ugly folder, splits, captions, containers, the cache."""

import gzip
import io
import json
import os
import random
import struct
import time
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from mintage.core.errors import DataError, UsageError
from mintage.verbs.inspect import dataset_hash, inspect, manifest


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MINTAGE_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("MINTAGE_LANG", "en")


def picture(seed, width=40, height=30, mode="RGB"):
    """Blobs that differ from seed to seed."""
    draw = np.random.default_rng(seed)
    rough = draw.integers(0, 256, (5, 7, 3), np.uint8)
    return Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def png_header(width, height):
    """A PNG that claims a size and has nothing behind it."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + chunk[:0] + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


def good_pictures(folder):
    """200 pictures in mixed sizes, formats, modes and names."""
    formats = ["png", "jpg", "webp", "bmp", "gif", "tiff", "jpeg", "tif"]
    for k in range(200):
        suffix = formats[k % len(formats)]
        mode = ["RGB", "L", "P", "RGBA", "CMYK", "1", "LA", "I;16"][k // len(formats) % 8]
        allowed = {
            "jpg": ("RGB", "L", "CMYK"), "jpeg": ("RGB", "L", "CMYK"), "webp": ("RGB", "RGBA"), "bmp": ("RGB", "L", "P"),
            "gif": ("RGB", "L", "P"), "tif": ("RGB", "L", "CMYK", "I;16"), "tiff": ("RGB", "L", "CMYK", "I;16"),
        }.get(suffix, ("RGB", "L", "P", "RGBA", "LA", "I;16"))  # fmt: skip
        mode = mode if mode in allowed else "RGB"
        image = picture(k, 20 + k, 260 - k, "RGB")
        deep = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
        image = deep if mode == "I;16" else image.convert(mode)
        name = ["猫 é ü", "plain", "emoji🐈", "a" * 200, "with space"][k % 5]
        more = {"exif": exif(1 + k % 8)} if suffix in ("jpg", "jpeg") else {}
        image.save(folder / f"{name}{k}.{suffix}", **more)


def exif(orientation):
    made = Image.Exif()
    made[0x0112] = orientation
    return made.tobytes()


def bad_files(folder):
    """30 bad files: name → a word that its reason must hold."""
    whole = io.BytesIO()
    picture(900, 200, 200).save(whole, "JPEG", quality=95)
    jpg = whole.getvalue()
    whole = io.BytesIO()
    picture(901, 200, 200).save(whole, "PNG")
    png = whole.getvalue()
    whole = io.BytesIO()
    picture(902, 200, 200).save(whole, "WEBP", lossless=True)
    webp = whole.getvalue()
    whole = io.BytesIO()
    frames = [picture(950 + k) for k in range(70)]
    frames[0].save(whole, "GIF", save_all=True, append_images=frames[1:])
    files = {
        "empty.png": (b"", "empty"), "empty.jpg": (b"", "empty"), "zeros.png": (b"\0" * 5000, "zero bytes"),
        "zeros.webp": (b"\0" * 64, "zero bytes"), "text.jpg": (b"Dear diary, today nothing happened.", "text"),
        "page.png": (b"<html><body>404 not found</body></html>", "text"), "noise.gif": (random.Random(1).randbytes(3000), "recognised"),
        "noise.bmp": (random.Random(2).randbytes(3000), "recognised"), "cut10.jpg": (jpg[: len(jpg) // 10], "cut off"),
        "cut50.jpg": (jpg[: len(jpg) // 2], "cut off"), "cut90.jpg": (jpg[: len(jpg) * 9 // 10], "cut off"),
        "cut50.png": (png[: len(png) // 2], "cut off"), "cut30.webp": (webp[: len(webp) // 3], ""),
        "header.png": (png[:20], ""), "header.jpg": (jpg[:4], ""), "flip.png": (png[:60] + bytes(60) + png[120:], ""),
        "bomb.png": (png_header(60000, 60000), "40 million"), "wide.png": (png_header(30000, 2), "line"),
        "clip.gif": (whole.getvalue(), "another medium"), "icon.png": (b"\x00\x00\x01\x00" + bytes(range(60)), ""),
        "pickle.png": (b"\x80\x04\x95\x10\x00\x00\x00" + bytes(range(200, 250)) * 4, ""), "pdf.png": (b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n" * 9, ""),
        "svg.png": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "text"), "riff.webp": (b"RIFF\x10\0\0\0WEBPVP8 ", ""),
        "pack.rar": (b"Rar!\x1a\x07\x00" * 9, "not read"), "run.exe": (b"MZ" + bytes(99), "not read"),
    }  # fmt: skip
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    (folder / "folder.png").mkdir()
    os.symlink(folder / "nowhere", folder / "dangling.png")
    os.symlink(folder, folder / "loop")
    os.mkfifo(folder / "pipe.jpg")
    reasons = {name: word for name, (_, word) in files.items()}
    return reasons | {"folder.png": "empty folder", "dangling.png": "nowhere", "loop": "leads back", "pipe.jpg": "pipe"}


def test_ugly_folder_names_every_bad_file_and_keeps_the_good_ones(tmp_path):
    folder = tmp_path / "图片 ü"
    folder.mkdir()
    good_pictures(folder)
    bad = bad_files(folder)
    assert len(bad) == 30
    (folder / "README.md").write_text("pictures")
    (folder / ".hidden").write_text("x")
    found = inspect(str(folder))
    reasons = {item.path.name: ruling.reason for item, ruling in found.refused}
    assert set(bad) <= set(reasons)
    for name, word in bad.items():
        assert word in reasons[name], f"{name}: {reasons[name]}"
        assert reasons[name]
    assert len(found.items) == 200
    assert reasons["README.md"] == reasons[".hidden"]
    assert all(min(content.shape[:2]) <= 160 and content.dtype == np.uint8 for content in found.contents(found.items))
    rows = list(manifest(found))
    assert sum(row["admitted"] for row in rows) == 200
    assert len(rows) == 232
    assert all(row["reason"] for row in rows if not row["admitted"])


def test_second_run_reads_nothing_again(tmp_path, monkeypatch):
    for k in range(12):
        picture(k).save(tmp_path / f"{k}.png")
    first = inspect(str(tmp_path))
    monkeypatch.setattr("mintage.modalities.image.Codec.read", lambda *_: pytest.fail("decoded again"))
    second = inspect(str(tmp_path))
    assert [i.id for i in first.items] == [i.id for i in second.items]
    os.rename(tmp_path / "3.png", tmp_path / "moved.png")
    os.utime(tmp_path / "4.png", (1, 1))
    third = inspect(str(tmp_path))
    assert dataset_hash(third.items) == dataset_hash(first.items)
    for a, b in zip(first.contents(first.items), second.contents(second.items), strict=True):
        assert np.array_equal(a, b)


def test_changed_added_and_removed_files_are_seen(tmp_path):
    for k in range(8):
        picture(k).save(tmp_path / f"{k}.png")
    first = inspect(str(tmp_path))
    time.sleep(0.01)
    picture(50).save(tmp_path / "2.png")
    (tmp_path / "3.png").unlink()
    picture(51).save(tmp_path / "new.png")
    second = inspect(str(tmp_path))
    assert len(second.items) == 8
    assert len({i.id for i in first.items} & {i.id for i in second.items}) == 6
    again = inspect(str(tmp_path))
    assert dataset_hash(again.items) == dataset_hash(second.items) != dataset_hash(first.items)
    fresh = {i.path.name: c for i, c in zip(again.items, again.contents(again.items), strict=True)}
    assert np.array_equal(fresh["2.png"], np.asarray(picture(50)))


def test_frames_that_were_rendered_again_are_seen(tmp_path):
    folders = [tmp_path / "data" / f"clip{k}" for k in range(3)]
    for k, folder in enumerate(folders):
        folder.mkdir(parents=True)
        for t in range(16):
            picture(100 * k + t, 16, 16).save(folder / f"{t:02}.png")
    first = inspect(str(tmp_path / "data"), {"modality": "video"})
    before = folders[1].stat()
    time.sleep(0.01)
    for t in range(16):
        picture(900 + t, 16, 16).save(folders[1] / f"{t:02}.png")
    os.utime(folders[1], ns=(before.st_atime_ns, before.st_mtime_ns))
    second = inspect(str(tmp_path / "data"), {"modality": "video"})
    assert len({i.id for i in first.items} & {i.id for i in second.items}) == 2
    fresh = {i.path: c for i, c in zip(second.items, second.contents(second.items), strict=True)}
    assert np.array_equal(fresh[folders[1]][3], np.asarray(picture(903, 16, 16)))


def test_without_a_cache_folder_it_works_in_memory(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    data = tmp_path / "data"
    data.mkdir()
    for k in range(5):
        picture(k).save(data / f"{k}.png")
    monkeypatch.setenv("MINTAGE_CACHE", str(tmp_path / "file" / "cache"))
    heard = []
    found = inspect(str(data), on=heard.append)
    assert len(found.items) == 5
    assert np.array_equal(found.contents(found.items)[0], np.asarray(picture(0)))
    assert [e.kind for e in heard if e.kind == "warning"] == ["warning"]


@pytest.mark.parametrize(("n", "expected"), [(1, (1, 0, 0)), (2, (2, 0, 0)), (3, (1, 1, 1)), (7, (5, 1, 1)), (40, (32, 4, 4))])
def test_splits_of_few_items(tmp_path, n, expected):
    for k in range(n):
        picture(k).save(tmp_path / f"{k}.png")
    found = inspect(str(tmp_path))
    assert tuple(len(found.split(s)) for s in ("train", "holdout", "test")) == expected


def test_nothing_usable_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="is empty"):
        inspect(str(tmp_path))
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"None of the 1 files .*a\.png: the file is empty"):
        inspect(str(tmp_path))
    with pytest.raises(DataError, match="There is no"):
        inspect(str(tmp_path / "missing"))


def test_split_folders_classes_and_missing_splits(tmp_path):
    for k in range(60):
        folder = tmp_path / ("val" if k % 4 == 0 else "train") / ["car", "train", "boat"][k % 3]
        folder.mkdir(parents=True, exist_ok=True)
        picture(k).save(folder / f"{k}.png")
    found = inspect(str(tmp_path))
    assert found.classes == ("boat", "car", "train")
    assert len(found.split("holdout")) == 15
    assert len(found.split("test")) == 4  # a tenth of train, which had none to give
    assert all("val" in item.path.parts for item in found.split("holdout"))


def test_class_called_train_beside_others_is_a_class(tmp_path):
    for k in range(30):
        folder = tmp_path / ["car", "train", "boat"][k % 3]
        folder.mkdir(exist_ok=True)
        picture(k).save(folder / f"{k}.png")
    assert inspect(str(tmp_path)).classes == ("boat", "car", "train")


def test_captions_from_texts_and_metadata(tmp_path):
    for k in range(6):
        picture(k).save(tmp_path / f"{k}.png")
        (tmp_path / f"{k}.txt").write_text(f"picture number {k}", encoding="utf-16")
    found = inspect(str(tmp_path))
    assert found.given_names == ("caption",)
    assert {item.given["caption"] for item in found.items} == {f"picture number {k}" for k in range(6)}
    for k in range(6):
        (tmp_path / f"{k}.txt").unlink()
    rows = [{"file_name": f"{k}.png", "text": f"caption {k}", "group": "ab"[k % 2], "tags": [1]} for k in range(6)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = inspect(str(tmp_path))
    assert {item.given["caption"] for item in found.items} == {f"caption {k}" for k in range(6)}
    assert inspect(str(tmp_path), {"class": "group"}).classes == ("a", "b")
    rows = [{**row, "tags": ["caption", f"blue {k}", "Sky", "sky", f"caption {k}"], "labels": ["x"]} for k, row in enumerate(rows)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert {item.given["caption"] for item in inspect(str(tmp_path)).items} == {f"caption {k}, blue {k}, Sky" for k in range(6)}
    assert inspect(str(tmp_path), {"caption": "text"}).items[0].given["caption"] == "caption 0"
    with pytest.raises(UsageError, match="grupp"):
        inspect(str(tmp_path), {"class": "grupp"})


def test_majority_medium_wins(tmp_path):
    for k in range(4):
        picture(k).save(tmp_path / f"{k}.png")
    (tmp_path / "notes.txt").write_text("some notes")
    found = inspect(str(tmp_path))
    assert found.modality == "image"
    assert [(i.path.name, r.kind) for i, r in found.refused] == [("notes.txt", "medium")]
    assert inspect(str(tmp_path), {"modality": "text"}).modality == "text"


def test_digits_sample():
    begin = time.perf_counter()
    found = inspect("digits")
    assert time.perf_counter() - begin < 3  # about .2 s alone
    assert len(found.items) == 1797
    assert not found.refused
    assert found.classes == tuple("0123456789")
    contents = found.contents(found.items)
    assert contents[0].shape == (8, 8)
    assert max(int(c.max()) for c in contents) == 255
    assert len(found.split("train")) == 1437


def test_code_sample_is_text():
    found = inspect("code")
    assert found.modality == "text"
    assert len(found.items) > 100
    assert isinstance(found.contents(found.items)[0], str)


def idx(array):
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes())


def test_idx_pairs_and_splits(tmp_path):
    draw = np.random.default_rng(0)
    for name, n in (("train", 50), ("t10k", 20)):
        (tmp_path / f"{name}-images-idx3-ubyte.gz").write_bytes(idx(draw.integers(0, 256, (n, 9, 9))))
        (tmp_path / f"{name}-labels-idx1-ubyte.gz").write_bytes(idx(np.arange(n) % 3))
    (tmp_path / "broken-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"\0\0\x08\x03\0\0\0\x05"))
    found = inspect(str(tmp_path))
    assert found.classes == ("0", "1", "2")
    assert [len(found.split(s)) for s in ("train", "holdout", "test")] == [45, 5, 20]
    assert "broken-images-idx3-ubyte.gz" in [item.path.name for item, _ in found.refused]


def test_npz_and_npy(tmp_path):
    draw = np.random.default_rng(0)
    x, y = draw.random((30, 3, 10, 12), dtype=np.float32), np.arange(30) % 2
    np.savez(tmp_path / "set.npz", x_train=x[:20], y_train=y[:20], x_test=x[20:], y_test=y[20:])
    found = inspect(str(tmp_path / "set.npz"))
    assert found.classes == ("0", "1")
    assert len(found.split("test")) == 10
    assert found.contents(found.items)[0].shape == (10, 12, 3)
    np.save(tmp_path / "only.npy", draw.integers(0, 256, (9, 8, 8), np.uint8))
    assert len(inspect(str(tmp_path / "only.npy")).items) == 9
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(DataError, match=r"evil\.npy"):
        inspect(str(tmp_path / "evil.npy"))


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)


def test_zip_is_checked_and_read(tmp_path):
    members = []
    for k in range(5):
        file = io.BytesIO()
        picture(k).save(file, "PNG")
        members.append((f"照片/{k}.png", file.getvalue()))
    zipped(tmp_path / "good.zip", members)
    found = inspect(str(tmp_path / "good.zip"))
    assert len(found.items) == 5
    assert sorted(row["path"] for row in manifest(found))[0] == "照片/0.png"
    link = zipfile.ZipInfo("a.png")
    link.external_attr = 0o120777 << 16
    for name, bad in {
        "climb": [("../../evil.png", b"x")], "root": [("/etc/evil.png", b"x")], "drive": [("C:\\evil.png", b"x")],
        "bomb": [("b.png", b"\0" * 30_000_000)], "many": [(f"{k}.txt", b"") for k in range(10_001)], "link": [(link, b"/etc/passwd")],
    }.items():  # fmt: skip
        zipped(tmp_path / f"{name}.zip", bad)
        with pytest.raises(DataError, match="is not unpacked"):
            inspect(str(tmp_path / f"{name}.zip"))
    (tmp_path / "torn.zip").write_bytes((tmp_path / "good.zip").read_bytes()[:300])
    with pytest.raises(DataError, match="cannot be unpacked"):
        inspect(str(tmp_path / "torn.zip"))


def test_one_long_text_is_cut_in_order(tmp_path):
    text = "".join(f"Line {k}: naïve café 猫.\n" for k in range(3000))
    (tmp_path / "book.txt").write_text(text, encoding="utf-8")
    found = inspect(str(tmp_path / "book.txt"))
    first, holdout, second, test = found.contents(found.items)
    assert [item.split for item in found.items] == ["train", "holdout", "train", "test"]
    assert first + holdout + second + test == text
    assert len(test) == len(text) // 10
    assert len(holdout) == int(0.02 * len(text))
    assert [item.at for item in found.items] == [0, len(first), len(first + holdout), len(text) - len(test)]


def test_records_with_splits_by_name(tmp_path):
    forms = ["sonnet", "haiku"]
    for name, n in (("train", 40), ("valid", 10), ("test", 10)):
        rows = [
            {"text": f"{name} poem {k} about {k * 7919 % 1000} things and {k * 31 % 97}", "form": forms[k % 2]} for k in range(n)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\nnot json\n")
    (tmp_path / "poems.txt").write_text("all of them again")
    found = inspect(str(tmp_path), {"duplicates": "keep"})
    assert [len(found.split(s)) for s in ("train", "holdout", "test")] == [40, 10, 10]
    assert found.classes == ("haiku", "sonnet")
    kinds = {(item.path.name, ruling.kind) for item, ruling in found.refused}
    assert ("poems.txt", "aside") in kinds
    assert ("train.jsonl", "broken") in kinds


def test_a_mix_of_media_names_each_part_and_asks(tmp_path):
    from mintage.verbs.plan import Wish, outline

    for k in range(5):
        picture(k).save(tmp_path / f"p{k}.png")
        (tmp_path / f"t{k}.txt").write_text(f"A text of its own, number {k}. " * 20)
    found = inspect(str(tmp_path))
    row = found.guesses[0]
    assert not found.medium.clear
    assert "image (5, flow)" in row.why
    assert "text (5, gpt)" in row.why
    assert row.override.startswith("-o modality=")
    with pytest.raises(UsageError, match=r"mixes media .*choose with -o modality="):
        outline(Wish(str(tmp_path)), found)
    chosen = inspect(str(tmp_path), {"modality": "text"})
    assert chosen.medium.clear
    assert (chosen.modality, len(chosen.items)) == ("text", 5)
    assert sum(ruling.kind == "medium" for _, ruling in chosen.refused) == 5
    for k in range(5, 8):
        picture(k).save(tmp_path / f"p{k}.png")
    assert inspect(str(tmp_path)).medium.clear, "more than half are pictures"
    for path in tmp_path.glob("*.png"):
        path.unlink()
    with pytest.raises(UsageError, match="nothing here is of that medium; there are 5 text"):
        inspect(str(tmp_path), {"modality": "image"})
