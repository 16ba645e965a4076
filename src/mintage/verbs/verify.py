"""verify: what the labels in a file say, and which layer is broken."""

from __future__ import annotations

from pathlib import Path

from mintage import trust
from mintage.core.errors import UsageError
from mintage.core.words import say


def verify(path: Path | str) -> trust.Finding:
    """Read every label that a file carries.

    Raises:
        UsageError: There is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(say("There is no file {path}.", path=path))
    return trust.verify(path)
