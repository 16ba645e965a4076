"""Where data comes from: folders, files, archives, array files and the built-in samples, of any medium.

A source is a list of files and a list of arrays, each with its split where names say so, and what was set aside with a
reason. Archives are unpacked only after every member's name, size and ratio was checked (no absolute or climbing
names, no links, at most 10,000 members, 100 : 1, 8 GB). Arrays of Python objects are refused. IDX is the format of
LeCun's MNIST files. It does not know what a file means; that is the codec's.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import os
import shutil
import stat
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from mintage.core.errors import BadItem, DataError
from mintage.core.spec import Ruling
from mintage.core.words import say

SPLITS = {
    "train": "train", "training": "train",
    "valid": "holdout", "val": "holdout", "validation": "holdout", "dev": "holdout", "holdout": "holdout",
    "test": "test", "testing": "test", "t10k": "test",
}  # fmt: skip
ARRAYS = (".npy", ".npz", ".gz", ".ubyte", "-ubyte")  # endings
ASIDE = ("readme", "license", "licence", "copying", "notice", "thumbs.db", "desktop.ini", "__macosx")
SAMPLES = ("digits", "code", "wine")
WINE = (
    "alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols", "flavanoids", "nonflavanoid_phenols",
    "proanthocyanins", "color_intensity", "hue", "od280_od315", "proline", "grower",
)  # fmt: skip
MEMBERS, RATIO, QUOTA = 10_000, 100, 8 << 30
IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


@dataclass(frozen=True)
class Rows:
    """An array whose first axis counts the items."""

    path: Path
    values: np.ndarray  # [N, ...]
    labels: tuple[str, ...] = ()
    split: str = ""
    bound: float = 0.0  # largest value there can be, where it is known


@dataclass
class Source:
    """What lies under DATA."""

    root: Path
    files: list[Path] = field(default_factory=list)
    rows: list[Rows] = field(default_factory=list)
    refused: list[tuple[Path, Ruling]] = field(default_factory=list)
    plain: bool = False  # all files are text, whatever their suffix

    def refuse(self, path: Path, kind: str, reason: str) -> None:
        """Set a path aside, under a name that can be written down whatever bytes it has on the disk."""
        self.refused.append((Path(_printable(path)), Ruling(False, kind, reason)))

    def shown(self, path: Path) -> str:
        """A path as a person knows it: relative to DATA."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.name


def find(data: str, cache: Path) -> Source:
    """List what DATA holds.

    Raises:
        DataError: Nothing is there, it may not be read, or an archive is unsafe.
    """
    path = Path(data).expanduser()
    if data in SAMPLES and not path.exists():
        return _wine(cache) if data == "wine" else _digits() if data == "digits" else _code()
    if not path.exists():
        known = ", ".join(SAMPLES)
        raise DataError(say("There is no {data}; give a folder, a file, or one of the samples {known}.", data=data, known=known))
    if not (path.is_dir() or path.is_file()):
        raise DataError(say("{data} is a pipe, socket or device; name a folder or a file.", data=data))
    if _printable(path.resolve()) != str(path.resolve()):
        raise DataError(say("{data} has a name that is not UTF-8; rename it.", data=_printable(path)))
    if not os.access(path, os.R_OK):
        raise DataError(say("{data} may not be read; change its permissions or name another.", data=data))
    if path.is_file() and path.suffix.lower() == ".zip":
        path = _unpack(path, cache)
    source = Source(path if path.is_dir() else path.parent)
    found = list(_walk(path, source, ())) if path.is_dir() else [path]
    arrays = [p for p in found if p.name.lower().endswith(ARRAYS)]
    source.files = [p for p in found if not p.name.lower().endswith(ARRAYS)]
    _read_arrays(arrays, source)
    return source


def _printable(path: Path) -> str:
    """A path as text; bytes that are not UTF-8 become question marks."""
    return os.fsencode(path).decode("utf-8", "replace")


def split_of(name: str) -> str:
    """The split that a file, folder or key is named after, or nothing."""
    words = name.lower().replace("-", "_").replace(".", "_").split("_")
    return next((SPLITS[word] for word in (words[0], words[-1]) if word in SPLITS), "")


def _walk(folder: Path, source: Source, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    """All regular files, sorted, links followed unless they lead back."""
    try:
        here = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        return source.refuse(folder, "broken", say("the folder cannot be opened ({reason})", reason=error.strerror))
    if (here.st_dev, here.st_ino) in above:
        return source.refuse(folder, "broken", say("the link leads back to a folder that contains it"))
    for entry in entries:
        path = Path(entry.path)
        try:
            mode = entry.stat().st_mode
        except OSError as error:
            source.refuse(path, "broken", say("the link leads nowhere ({reason})", reason=error.strerror))
            continue
        name = entry.name.lower()
        if _printable(Path(name)) != name:
            source.refuse(path, "broken", say("its name is not UTF-8"))
        elif name.startswith(".") or name.split(".")[0] in ASIDE or name in ASIDE:
            source.refuse(path, "aside", say("a README, licence or hidden file is no data"))
        elif name.endswith(".aigc.json"):
            source.refuse(path, "aside", say("it describes the file beside it"))
        elif stat.S_ISDIR(mode):
            if "." in name and not any(os.scandir(path)):
                source.refuse(path, "broken", say("it is an empty folder and not a file"))
            yield from _walk(path, source, (*above, (here.st_dev, here.st_ino)))
        elif stat.S_ISREG(mode):
            yield path
        else:
            source.refuse(path, "broken", say("it is a pipe, socket or device and not a file"))
    return None


def _unpack(path: Path, cache: Path) -> Path:
    """A checked archive as a folder in the cache."""
    info = path.stat()
    key = hashlib.sha256(f"{path.resolve()}:{info.st_size}:{info.st_mtime_ns}".encode()).hexdigest()[:24]
    target = cache / "unpacked" / key
    if target.exists():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temp = Path(tempfile.mkdtemp(dir=target.parent))
    except OSError:
        temp = target = Path(tempfile.mkdtemp(prefix="mintage-"))
    try:
        with zipfile.ZipFile(path) as archive:
            for member in _checked(archive, path.name):
                out = temp.joinpath(*PurePosixPath(member.filename).parts)
                out.parent.mkdir(parents=True, exist_ok=True)
                _inflate(archive, member, out, path.name)
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError) as error:
        shutil.rmtree(temp, ignore_errors=True)
        text = say("{name} cannot be unpacked ({error}); pack it again or give the folder.", name=path.name, error=error)
        raise DataError(text) from error
    except DataError:
        shutil.rmtree(temp, ignore_errors=True)
        raise
    if temp != target:
        temp.rename(target)
    return target


def _checked(archive: zipfile.ZipFile, name: str) -> list[zipfile.ZipInfo]:
    """The members that are files, once the whole archive is known to be harmless."""
    members = [m for m in archive.infolist() if not m.is_dir()]
    total = sum(m.file_size for m in members)
    packed = max(1, sum(m.compress_size for m in members))
    reason = ""
    if len(members) > MEMBERS:
        reason = say("it holds {n} files, and the limit is 10,000", n=len(members))
    elif total > QUOTA or total > RATIO * packed + (1 << 20):
        reason = say("it would swell to {mb} MB, which looks like a bomb", mb=total >> 20)
    for member in members:
        parts = PurePosixPath(member.filename.replace("\\", "/"))
        if not parts.parts or parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0] or "\0" in member.filename:
            reason = say("the member {member} would land outside of its folder", member=repr(member.filename))
        elif stat.S_ISLNK(member.external_attr >> 16):
            reason = say("the member {member} is a link", member=repr(member.filename))
    if reason:
        raise DataError(say("{name} is not unpacked: {reason}; give the folder instead.", name=name, reason=reason))
    return members


def _inflate(archive: zipfile.ZipFile, member: zipfile.ZipInfo, out: Path, name: str) -> None:
    """Write one member, counting its bytes: a header may lie about the size."""
    left = member.file_size
    with archive.open(member) as packed, open(out, "wb") as file:
        while block := packed.read(1 << 20):
            left -= len(block)
            if left < 0:
                why = say("a member is larger than it claims")
                raise DataError(say("{name} is not unpacked: {reason}; give the folder instead.", name=name, reason=why))
            file.write(block)


def _read_arrays(paths: Sequence[Path], source: Source) -> None:
    """Arrays and the labels that belong to them, paired by name."""
    loaded: dict[tuple[Path, str], np.ndarray] = {}
    for path in paths:
        try:
            loaded.update({(path, key): values for key, values in _load(path).items()})
        except Exception as error:  # numpy's parser of damaged headers may raise anything
            source.refuse(path, "broken", say("the array file cannot be read ({error})", error=error))
    labels = {where: values for where, values in loaded.items() if values.ndim == 1}
    used: set[tuple[Path, str]] = set()
    for (path, key), values in loaded.items():
        if values.ndim < 3 or not values.size:
            continue
        match = _labels_for(path, key, labels)
        names: tuple[str, ...] = ()
        if match and len(labels[match]) == len(values):
            names = tuple(map(str, labels[match].tolist()))
            used.add(match)
        source.rows.append(Rows(path, values, names, split_of(key) or split_of(path.stem.split(".")[0])))
    for path, key in loaded:
        useless = (loaded[path, key].ndim < 3 or not loaded[path, key].size) and (path, key) not in used
        if useless and not any(path == rows.path for rows in source.rows):
            why = say("its array {key} holds no items that are known here", key=key or path.name)
            source.refuse(path, "medium", why)
    order = {"train": 0, "": 1, "holdout": 2, "test": 3}
    source.rows.sort(key=lambda rows: order[rows.split])


def _labels_for(path: Path, key: str, labels: dict[tuple[Path, str], np.ndarray]) -> tuple[Path, str] | None:
    """The labels that go with an array: the same name with images → labels or x → y."""
    swaps = (("images", "labels"), ("image", "label"), ("data", "target"), ("x", "y"), ("X", "y"))
    for old, new in swaps:
        for other in {key.replace(old, new), key.replace(old, "labels")} - {key}:
            if (path, other) in labels:
                return path, other
        twin = path.with_name(path.name.replace(old, new).replace("idx3", "idx1"))
        if twin != path and (twin, key) in labels:
            return twin, key
    return next((where for where in labels if where[0] == path), None)


def _load(path: Path) -> dict[str, np.ndarray]:
    """Arrays of one file by key."""
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return {"": np.load(path, mmap_mode="r", allow_pickle=False)}
    if suffix == ".npz":
        with zipfile.ZipFile(path) as packed:
            _checked(packed, path.name)
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    with gzip.open(path) if suffix == ".gz" else open(path, "rb") as file:
        return {"": _idx(file.read(min(QUOTA, RATIO * path.stat().st_size + (1 << 20))))}


def _idx(data: bytes) -> np.ndarray:
    """LeCun's IDX: two zero bytes, a type, the number of axes, their lengths, the values."""
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in IDX_TYPES:
        raise BadItem(say("it is not in IDX form"))
    axes, kind = data[3], np.dtype(IDX_TYPES[data[2]])
    shape = tuple(int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(axes))
    body = len(data) - 4 - 4 * axes
    if body != int(np.prod(shape, dtype=np.int64)) * kind.itemsize:
        raise BadItem(say("its length does not match its header"))
    return np.frombuffer(data, kind, offset=4 + 4 * axes).reshape(shape).astype(kind.newbyteorder("="), copy=False)


def _digits() -> Source:
    """1,797 handwritten digits of 8 × 8 (Alpaydin and Kaynak 1998) from scikit-learn's own file, without importing it."""
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataError(say("The sample digits comes with scikit-learn, which is not installed; install scikit-learn."))
    path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    with gzip.open(path) as file:
        table = np.array([line.split(b",") for line in file.read().split()], dtype=np.float32)
    labels = tuple(str(int(label)) for label in table[:, -1])
    return Source(path.parent, rows=[Rows(path, table[:, :-1].reshape(-1, 8, 8), labels, bound=16.0)])


def _code() -> Source:
    """The standard library's own modules, as text."""
    root = Path(sysconfig.get_path("stdlib"))
    return Source(root, files=sorted(path for path in root.glob("*.py") if path.stat().st_size), plain=True)


def _wine(cache: Path) -> Source:
    """178 Italian wines of three growers (Forina et al. 1988), from scikit-learn's own file, with the names of its columns."""
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataError(say("The sample wine comes with scikit-learn, which is not installed; install scikit-learn."))
    rows = (Path(package.origin).parent / "datasets" / "data" / "wine_data.csv").read_text("utf-8").split("\n", 1)[1]
    path = cache / "samples" / "wine.csv"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(",".join(WINE) + "\n" + rows, "utf-8")
    except OSError:
        path = Path(tempfile.mkdtemp(prefix="mintage-")) / "wine.csv"
        path.write_text(",".join(WINE) + "\n" + rows, "utf-8")
    return Source(path.parent, files=[path])
