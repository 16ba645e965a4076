"""The exception tree: each message is one sentence that says what, where and what to do.

The exit code of the command line is the exception's ``exit_code`` (0 done, 1 failed, 2 usage, 3 gate, 130 interrupted).
"""

from __future__ import annotations


class MintageError(Exception):
    """Anything Mintage refuses or fails at, said in one sentence."""

    exit_code = 1


class UsageError(MintageError):
    """The request itself is off: an unknown option, family, path or value."""

    exit_code = 2


class DataError(MintageError):
    """The data cannot be used: nothing readable, too few items, changed under a run."""

    exit_code = 2


class BadItem(MintageError):
    """One item is unusable; it is set aside with this reason and the rest goes on."""


class RefusedError(MintageError):
    """A combination that cannot work, with the valid choices named."""

    exit_code = 2


class StoreError(MintageError):
    """A run or model folder cannot be written, or what is in it is damaged."""


class PluginError(MintageError):
    """A plug-in file of the person's own cannot be loaded."""


class TrainingError(MintageError):
    """Training cannot go on: it diverged past repair or ran out of memory."""


class GateError(MintageError):
    """The verdict is not gold and the caller asked for a gate."""

    exit_code = 3


class InterruptedRun(MintageError):
    """A person stopped the run; everything is saved."""

    exit_code = 130
