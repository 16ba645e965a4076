"""Dates and times in text: the one format of a whole column, and between its cells and seconds since 1970.

Formats are those of strptime with four more marks: ``%-d`` (days, months, hours without a leading zero), ``%3f`` (three
digits of a second) and ``%:z`` (an offset with a colon). Where all cells share one offset it is part of the text; where they
differ, moments are told in UTC. It does not know names of months in other languages, nor which of two orders a person meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

CLOCKS = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%I:%M:%S %p", "%I:%M %p")
ZONES = ("Z", "%z", " %z")
FORMATS = (
    "%Y-%m-%d", *(f"%Y-%m-%d{gap}{clock}{zone}" for zone in ("", *ZONES) for gap in (" ", "T") for clock in CLOCKS[:3]), "%Y/%m/%d",
    "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", *(f"{day} {clock}" for clock in CLOCKS for day in ("%Y/%m/%d", "%d/%m/%Y",
    "%m/%d/%Y", "%d.%m.%Y")), "%d %b %Y", *CLOCKS, "%Y-%m",
)  # fmt: skip
EPOCH = datetime(1970, 1, 1)
SHORT = "dmHI"  # what some write without a leading zero
DIGITS = 6  # of a second at most; what comes after is written as zeros
DATED = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}([-/.])\d{1,2}\1(\d{4}|\d\d)(?!\d)")


def date_format(cells: Sequence[str]) -> str:
    """The format in which all cells are dates or times; empty if there is none."""
    few = [cell for cell in cells[:50] if cell and cell[0].isdigit()]
    if len(few) < len(cells[:50]) or not few:
        return ""
    for form in FORMATS:
        if all(_moment(cell, form) is not None for cell in few) and all(_moment(cell, form) is not None for cell in set(cells)):
            return _finer(form, set(cells))
    return ""


def date_reader(form: str) -> Callable[[str], float]:
    """From a cell to seconds since 1970; NaN for what is no such date."""
    plain = _plain(form)

    def read(cell: str) -> float:
        moment = _moment(cell, plain)
        return float("nan") if moment is None else (moment - EPOCH).total_seconds()

    return read


def dates(values: NDArray[np.float64], form: str) -> list[str]:
    """Seconds since 1970 as they are written in a format. [N]"""
    fraction = re.search(r"%(\d?)f", form)
    width = int(fraction[1] or DIGITS) if fraction else 0
    digits = min(width, DIGITS)
    step = 1 if "%S" in form else 60 if "%M" in form else 86_400
    scale = 10.0**digits / step
    counts = np.rint(values * scale).astype(np.int64).tolist()
    seen: dict[int, str] = {}
    for count in set(counts):
        seconds, part = divmod(count, 10**digits)
        seen[count] = _stamp(EPOCH + timedelta(seconds=seconds * step), form, f"{part:0{digits}d}".ljust(width, "0"))
    return [seen[count] for count in counts]


def written(moment: datetime, form: str) -> str:
    """A moment in a format, with its offset or in UTC; empty where that would drop some of it."""
    if moment.tzinfo:
        own = re.search(r"[-+]\d\d:?\d\d$", form)
        zone = datetime.strptime(own[0], "%z").tzinfo if own else UTC
        moment = moment.astimezone(zone).replace(tzinfo=None)
    text = dates(np.array([(moment - EPOCH).total_seconds()]), form)[0]
    return text if _moment(text, _plain(form)) == moment else ""


def dated(cells: Sequence[str]) -> bool:
    """Whether all cells begin like a date, in whatever format."""
    return bool(cells) and all(DATED.match(cell) for cell in cells)


def _moment(cell: str, form: str) -> datetime | None:
    """A moment without a zone: told in UTC where the text has an offset."""
    text = re.sub(r"(\.\d{6})\d{1,3}(?!\d)", r"\1", cell) if "%f" in form else cell
    for own in (form, form.replace(".%f", ""))[: 1 + ("%f" in form)]:  # a whole second may have no fraction
        try:
            moment = datetime.strptime(text, own)
            return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
        except (ValueError, OverflowError):
            continue
    return None


def _plain(form: str) -> str:
    """A format as strptime knows it."""
    return re.sub(r"%(?:[-:]|\d(?=f))", "%", form)


def _finer(form: str, cells: set[str]) -> str:
    """A format with the digits, the leading zeros and the offset that its cells have."""
    fields = re.findall(r"%([^bpzf])", form)
    short = {key for cell in cells for key, digits in zip(fields, re.findall(r"\d+", cell), strict=False) if len(digits) == 1}
    for key in short & set(SHORT):
        form = form.replace(f"%{key}", f"%-{key}")
    if "%f" in form:
        form = form.replace("%f", f"%{max(len(part[1]) for cell in cells if (part := re.search(r':[0-9]+[.]([0-9]+)', cell)))}f")
    if "%z" in form:
        offsets = {cell[-1:] if cell.endswith("Z") else re.split(r"(?=[-+][\d:]+$)", cell)[-1] for cell in cells}
        form = form.replace("%z", offsets.pop() if len(offsets) == 1 else "%:z" if any(":" in own for own in offsets) else "%z")
    return form


def _stamp(moment: datetime, form: str, fraction: str) -> str:
    """One moment in a format; what strftime does not do alike on every machine is done here."""
    text = re.sub(r"%\d?f", fraction, form).replace("%:z", "+00:00").replace("%z", "+0000").replace("%Y", f"{moment.year:04d}")
    text = re.sub(r"%-(\w)", lambda mark: str(int(moment.strftime(f"%{mark[1]}"))), text)
    return moment.strftime(text)
