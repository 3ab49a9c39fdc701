"""Whether inputs are what the SDK's argument classes say: names, types, and what is required."""

from __future__ import annotations

import inspect
import re
import types
import warnings
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, ForwardRef, Union, get_args, get_origin, is_typeddict

import pulumi
from pulumi._types import input_type_py_to_pulumi_names, input_type_types, is_input_type

from plugins.values import has_unknown


@dataclass(frozen=True)
class Argument:
    """One input: its type as the SDK annotates it, and whether it has to be given."""

    annotation: Any
    required: bool


@cache
def arguments(token: str) -> Mapping[str, Argument]:
    """The inputs of a resource type by wire name; ``aws:s3/bucket:Bucket`` is ``pulumi_aws.s3.bucket``."""
    package, middle, name = token.split(":")
    # A package without modules has its types at its top: ``eks:index:Cluster``.
    place = _snake(name) if middle == "index" else f"{middle.split('/')[0]}.{_snake(middle.split('/')[1])}"
    with warnings.catch_warnings():
        # Modules of the SDK are loaded as their types are read, some of which are deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        # The service first: one that is loaded by way of a module of its own lacks that one's names for good.
        getattr(import_module(f"pulumi_{package}.{place.partition('.')[0].lower()}"), name, None)
        module = import_module(f"pulumi_{package}.{place.lower()}")
        # Where a nested type has the name, the resource's own is called otherwise.
        return _members(getattr(module, f"{name}InitArgs", None) or getattr(module, f"{name}Args"))


def failures(token: str, inputs: Mapping[str, Any]) -> dict[str, str]:
    """By input: how it is not what the SDK says."""
    known = arguments(token)
    found: dict[str, str] = {}
    for name, value in inputs.items():
        why = _wrong(value, known[name].annotation)
        if why:
            found[name] = f"{token} {name}: {why}"
    return found


@cache
def _members(kind: type) -> Mapping[str, Argument]:
    parameters = inspect.signature(kind).parameters
    names = input_type_py_to_pulumi_names(kind)
    annotations = input_type_types(kind)
    return {
        wire: Argument(
            annotation=annotations[wire],
            required=parameters[python].default is inspect.Parameter.empty,
        )
        for python, wire in names.items()
    }


def _wrong(value: Any, annotation: Any) -> str:
    """Why ``value`` is not of ``annotation``; empty when it is."""
    if has_unknown(value) and not isinstance(value, Mapping | list):
        return ""
    if isinstance(annotation, ForwardRef | str) or annotation is Any:
        return ""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        whys = [_wrong(value, option) for option in inner if _says_something(option)]
        return "" if not all(whys) else whys[0]
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            return f"a mapping, not {value!r}"
        return next((why for v in value.values() if (why := _wrong(v, inner[1]))), "")
    if origin is not None and issubclass(origin, Sequence):
        if not isinstance(value, list):
            return f"a list, not {value!r}"
        return next((why for v in value if (why := _wrong(v, inner[0]))), "")
    if isinstance(annotation, type) and is_input_type(annotation):
        return _wrong_object(value, annotation)
    if isinstance(annotation, type) and annotation in (str, int, float, bool):
        fits = {
            str: isinstance(value, str),
            bool: isinstance(value, bool),
            int: isinstance(value, int) and not isinstance(value, bool),
            float: isinstance(value, int | float) and not isinstance(value, bool),
        }
        return "" if fits[annotation] else f"{annotation.__name__}, not {value!r}"
    return ""


def _says_something(option: Any) -> bool:
    """Whether an alternative is a type of its own: not None, a promise of another one, or its dictionary."""
    origin = get_origin(option)
    promised = isinstance(origin, type) and issubclass(origin, Awaitable | pulumi.Output)
    return option is not type(None) and not promised and not is_typeddict(option)


def _wrong_object(value: Any, kind: type) -> str:
    if not isinstance(value, Mapping):
        return f"an object, not {value!r}"
    members = _members(kind)
    strange = [name for name in value if name not in members]
    if strange:
        return f"{kind.__name__} has no {strange[0]!r}; permitted: {', '.join(sorted(members))}"
    absent = [name for name, member in members.items() if member.required and name not in value]
    if absent:
        return f"{kind.__name__} needs {absent[0]!r}"
    return next(
        (f"{name}: {why}" for name, v in value.items() if (why := _wrong(v, members[name].annotation))), ""
    )


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: f"_{found[1].lower()}", name)
