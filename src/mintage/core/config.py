"""Configuration as frozen dataclasses: ↔ JSON, → JSON Schema, ← ``-o key=value``.

One source feeds the command line, the API and the Studio's forms. Field help is the field's entry in the class
docstring's ``Attributes`` section. Keys are unique over the classes of one combination, so ``-o`` needs no prefix.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

from mintage.core.errors import UsageError
from mintage.core.registry import unknown
from mintage.core.words import say

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


@dataclasses.dataclass(frozen=True)
class Within:
    """Bounds of a number, both allowed: ``width: Annotated[int, Within(1, 4096)] = 192``."""

    low: float = 0
    high: float = 1_000_000_000


SHARE = Within(0, 1)
JSON_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string"}


def to_json(value: Any) -> Any:
    """Dataclasses, tuples, mappings and paths → plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def from_json(cls: type[T], data: Mapping[str, Any]) -> T:
    """The dataclass ``cls`` from what ``to_json`` gave; unknown keys are ignored, missing ones take defaults."""
    hints = get_type_hints(cls, include_extras=False, localns={"Tensor": Any})
    known = {f.name for f in dataclasses.fields(cls)}
    return cls(**{k: _revive(hints[k], v) for k, v in data.items() if k in known})


def _revive(hint: Any, value: Any) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _revive(next(a for a in args if a is not type(None)), value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_json(hint, value)
    if origin is tuple:
        inner = args[0] if len(args) == 2 and args[1] is Ellipsis else Any
        return tuple(_revive(inner, v) for v in value)
    if origin is not None and isinstance(value, Mapping) and len(args) == 2:
        return {k: _revive(args[1], v) for k, v in value.items()}
    if hint is Path:
        return Path(value)
    return tuple(value) if isinstance(value, list) and origin is None and hint is tuple else value


def attribute_help(cls: type) -> dict[str, str]:
    """Field → its sentence in the docstring's ``Attributes`` section, or in that of the class it comes from."""
    found: dict[str, str] = {}
    for kind in reversed(cls.__mro__):
        section = inspect.cleandoc(kind.__dict__.get("__doc__") or "").partition("Attributes:")[2]
        rows = re.findall(r"^\s{4}(\w+): (.+(?:\n\s{8}.+)*)", section, re.M)
        found |= {name: re.sub(r"\s+", " ", text) for name, text in rows}
    return found


def schema(cls: type) -> dict[str, Any]:
    """JSON Schema of a configuration class."""
    hints, texts = get_type_hints(cls), attribute_help(cls)
    properties: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        kind = _plain(hints[field.name])
        entry: dict[str, Any] = {
            "type": "array" if get_origin(kind) is tuple else JSON_TYPES.get(kind, "string"),
            "description": texts.get(field.name, ""),
        }
        if get_origin(kind) is typing.Literal:
            entry["enum"] = list(get_args(kind))
        if field.default is not dataclasses.MISSING:
            entry["default"] = field.default
        properties[field.name] = entry
    return {"title": cls.__qualname__, "type": "object", "properties": properties, "additionalProperties": False}


def _plain(hint: Any) -> Any:
    """``int | None`` → ``int``."""
    if get_origin(hint) in (types.UnionType, typing.Union):
        return next(a for a in get_args(hint) if a is not type(None))
    return hint


def parse(pairs: Sequence[str], classes: Sequence[type], free: Sequence[str] = ()) -> dict[str, Any]:
    """``["width=64"]`` → ``{"width": 64}``, checked against the fields of ``classes``.

    Args:
        pairs: The values of ``-o``.
        classes: Configuration classes of this combination.
        free: Further keys that are taken as text.

    Raises:
        UsageError: A pair without ``=``, an unknown key (with did-you-mean), a value of the wrong type or out of bounds.
    """
    hints = {name: _plain(hint) for cls in classes for name, hint in get_type_hints(cls).items()}
    bounds = {name: _bounds(hint) for cls in classes for name, hint in get_type_hints(cls, include_extras=True).items()}
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise UsageError(say("-o {pair} has no value; write -o {pair}=VALUE.", pair=pair))
        if key in free:
            values[key] = text
        elif key in hints:
            values[key] = _inside(key, text, _value(key, text, hints[key]), bounds[key])
        else:
            raise UsageError(unknown("-o", key, sorted({*hints, *free})))
    return values


def _bounds(hint: Any) -> Within:
    return next((extra for extra in getattr(hint, "__metadata__", ()) if isinstance(extra, Within)), Within())


def _inside(key: str, text: str, value: Any, bounds: Within) -> Any:
    """The value, if its numbers are finite and within bounds."""
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, (int, float)) and not bounds.low <= number <= bounds.high:
            low, high = f"{bounds.low:g}", f"{bounds.high:g}"
            raise UsageError(say("-o {key}={text}: choose from {low} to {high}.", key=key, text=text, low=low, high=high))
    return value


def _value(key: str, text: str, kind: Any) -> Any:
    if get_origin(kind) is typing.Literal:
        if text not in get_args(kind):
            raise UsageError(unknown(f"-o {key}", text, map(str, get_args(kind))))
        return text
    try:
        if get_origin(kind) is tuple:
            return tuple(get_args(kind)[0](part) for part in text.split(",") if part)
        if kind is bool:
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
        if kind in (int, float):
            return kind(text)
    except (KeyError, ValueError):
        wanted = {bool: say("yes or no"), int: say("a whole number"), float: say("a number")}.get(
            kind, say("numbers joined by commas")
        )
        raise UsageError(say("-o {key}={text}: {key} takes {wanted}.", key=key, text=text, wanted=wanted)) from None
    return text


def pick(cls: type[T], values: Mapping[str, Any], base: T | None = None) -> T:
    """``base`` (or defaults) with those of ``values`` that are fields of ``cls``."""
    own = {f.name: values[f.name] for f in dataclasses.fields(cls) if f.name in values}
    return dataclasses.replace(base, **own) if base is not None else cls(**own)
