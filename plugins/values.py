"""Property values as the engine sends them: plain Python values, unknowns and secrets.

The engine marks special values inside protobuf structs by signatures:
https://www.pulumi.com/docs/iac/using-pulumi/extending-pulumi/ and ``pulumi.runtime.rpc``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.protobuf import struct_pb2

Props = dict[str, Any]
"""Property values by wire name (camelCase)."""

_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"
_OUTPUT: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_UNKNOWN_TEXT: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_UNKNOWN: Final = frozenset(
    {
        _UNKNOWN_TEXT,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)


class Unknown:
    """A value that is known only after another resource was made (previews)."""

    _only: Unknown | None = None

    def __new__(cls) -> Unknown:
        """The one instance."""
        if cls._only is None:
            cls._only = super().__new__(cls)
        return cls._only

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


def has_unknown(value: object) -> bool:
    """Whether ``value`` is, or holds at any depth, an unknown."""
    if isinstance(value, Unknown):
        return True
    if isinstance(value, Mapping):
        return any(has_unknown(inner) for inner in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return any(has_unknown(inner) for inner in value)
    return False


def decode(struct: struct_pb2.Struct) -> tuple[Props, frozenset[str]]:
    """Properties without their markers, and the top-level names that hold a secret at any depth."""
    props: Props = {}
    secrets: set[str] = set()
    for name, value in struct.fields.items():
        plain, secret = _decode(value)
        if plain is not None:
            props[name] = plain
        if secret:
            secrets.add(name)
    return props, frozenset(secrets)


def _decode(value: struct_pb2.Value) -> tuple[Any, bool]:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return (UNKNOWN if value.string_value in _UNKNOWN else value.string_value), False
    if kind == "number_value":
        number = value.number_value
        return (int(number) if number.is_integer() else number), False
    if kind == "bool_value":
        return value.bool_value, False
    if kind == "list_value":
        items = [_decode(item) for item in value.list_value.values]
        return [plain for plain, _ in items], any(secret for _, secret in items)
    if kind == "struct_value":
        return _decode_struct(value.struct_value)
    return None, False


def _decode_struct(struct: struct_pb2.Struct) -> tuple[Any, bool]:
    fields = struct.fields
    signature = fields[_SIGNATURE].string_value if _SIGNATURE in fields else ""
    if signature == _SECRET:
        return _decode(fields["value"])[0], True
    if signature == _OUTPUT:
        plain = _decode(fields["value"])[0] if "value" in fields else UNKNOWN
        return plain, "secret" in fields and fields["secret"].bool_value
    plain_fields: Props = {}
    any_secret = False
    for name, value in fields.items():
        plain, secret = _decode(value)
        any_secret = any_secret or secret
        if plain is not None:
            plain_fields[name] = plain
    return plain_fields, any_secret


def encode(props: Mapping[str, Any], secrets: Iterable[str] = ()) -> struct_pb2.Struct:
    """``props`` for the engine, those named in ``secrets`` marked as secret. Nones are left out."""
    hidden = set(secrets)
    struct = struct_pb2.Struct()
    for name, value in props.items():
        if value is None:
            continue
        if name in hidden:
            wrapped = struct.fields[name].struct_value
            wrapped.fields[_SIGNATURE].string_value = _SECRET
            _encode(value, wrapped.fields["value"])
        else:
            _encode(value, struct.fields[name])
    return struct


def _encode(value: Any, into: struct_pb2.Value) -> None:
    if value is None:
        into.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, Unknown):
        into.string_value = _UNKNOWN_TEXT
    elif isinstance(value, bool):
        into.bool_value = value
    elif isinstance(value, int | float):
        into.number_value = value
    elif isinstance(value, str):
        into.string_value = value
    elif isinstance(value, Mapping):
        into.struct_value.SetInParent()
        for name, inner in value.items():
            if inner is not None:
                _encode(inner, into.struct_value.fields[name])
    elif isinstance(value, list | tuple):
        into.list_value.SetInParent()
        for inner in value:
            _encode(inner, into.list_value.values.add())
    else:
        raise TypeError(f"a property can't hold a {type(value).__name__}")
