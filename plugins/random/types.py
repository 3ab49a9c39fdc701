"""The resource types of the random provider. A value is drawn once and lives in state alone."""

from __future__ import annotations

import base64
import secrets
import string
import uuid
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from contracts.errors import LabError
from plugins.kinds import BOOL, INT, Kind, TextMap
from plugins.resource import KEEP, Field, ResourceType, State, Update
from plugins.values import Props

_SPECIAL = "!@#$%&*()-_=+[]{}<>:?"
_MAX_BCRYPT_BYTES = 72


class _Keepers(TextMap):
    """Any change of the map, also a dropped key, draws a new value."""

    def same(self, declared: Any, actual: Any, previous: Any = None) -> bool:
        return (declared or {}) == (actual or {})


KEEPERS = Field(name="keepers", kind=_Keepers(), default={}, replace=True)


def _fixed(name: str, kind: Kind, default: Any = KEEP, required: bool = False) -> Field:
    return Field(name=name, kind=kind, default=default, required=required, replace=True)


def _output(name: str, kind: Kind | None = None, secret: bool = False) -> Field:
    return Field(name=name, kind=kind or Kind(), output=True, secret=secret)


class RandomValue(ResourceType[None]):
    """Draws once; every changed input draws anew by replacement."""

    @abstractmethod
    def draw(self, inputs: Props) -> State:
        """A new value. Raises LabError."""

    @abstractmethod
    def adopt(self, ident: str) -> State:
        """The state for a value given as an import id. Raises LabError."""

    def declared(self, inputs: Props) -> Props:
        """Inputs with their defaults, as outputs show them."""
        return {
            f.name: inputs.get(f.name, None if f.default is KEEP else f.default)
            for f in self.fields
            if not f.output
        }

    def create(self, session: None, inputs: Props) -> State:
        return self.draw(inputs)

    def read(self, session: None, ident: str, inputs: Props, recorded: Props) -> State | None:
        return State(id=ident, outputs=recorded) if recorded else self.adopt(ident)

    def update(self, session: None, update: Update) -> State:
        raise LabError(f"{self.token} can't be changed in place", value=update.id)

    def delete(self, session: None, ident: str, recorded: Props) -> None:
        """There is nothing outside the state."""


class RandomString(RandomValue):
    """Characters of chosen classes, with a least number of each."""

    token = "random:index/randomString:RandomString"
    fields: ClassVar[tuple[Field, ...]] = (
        _fixed("length", INT, required=True),
        KEEPERS,
        *(_fixed(name, BOOL, True) for name in ("lower", "upper", "numeric", "special")),
        Field(name="number", kind=BOOL, replace=True),
        *(_fixed(name, INT, 0) for name in ("minLower", "minUpper", "minNumeric", "minSpecial")),
        Field(name="overrideSpecial", replace=True),
        _output("result"),
    )

    def validate(self, inputs: Props) -> Mapping[str, str]:
        length = inputs.get("length")
        least = [inputs.get(name, 0) for name in ("minLower", "minUpper", "minNumeric", "minSpecial")]
        if not isinstance(length, int) or not all(isinstance(part, int) for part in least):
            return {}
        if length < max(1, sum(least)):
            return {"length": f"given {length}; permitted: at least {max(1, sum(least))}"}
        if not any(characters for characters, _ in _classes(inputs)):
            return {"length": "no class of characters is left to draw from"}
        return {}

    def draw(self, inputs: Props) -> State:
        result = draw_text(inputs)
        return State(id=self.ident(result), outputs={**self._shown(inputs), **self._made(result)})

    def adopt(self, ident: str) -> State:
        inputs = {"length": len(ident)}
        return State(id=self.ident(ident), outputs={**self._shown(inputs), **self._made(ident)})

    def ident(self, result: str) -> str:
        """The resource's id for a result."""
        return result

    def _made(self, result: str) -> Props:
        return {"result": result}

    def _shown(self, inputs: Props) -> Props:
        shown = self.declared(inputs)
        # ``number`` is the former name of ``numeric``.
        shown["numeric"] = inputs.get("numeric", inputs.get("number", True))
        shown["number"] = shown["numeric"]
        return shown


class RandomPassword(RandomString):
    """As RandomString, with a secret result that is in no id."""

    token = "random:index/randomPassword:RandomPassword"
    fields = (
        *RandomString.fields[:-1],
        _output("result", secret=True),
        _output("bcryptHash", secret=True),
    )

    def ident(self, result: str) -> str:
        return "none"

    def _made(self, result: str) -> Props:
        import bcrypt

        # bcrypt reads 72 bytes at most.
        hashed = bcrypt.hashpw(result.encode()[:_MAX_BCRYPT_BYTES], bcrypt.gensalt(10))
        return {"result": result, "bcryptHash": hashed.decode()}


def _classes(inputs: Props) -> list[tuple[str, int]]:
    """The characters of each class that is drawn from, with the least number of each."""
    numeric = inputs.get("numeric", inputs.get("number", True))
    return [
        (string.ascii_lowercase if inputs.get("lower", True) else "", inputs.get("minLower", 0)),
        (string.ascii_uppercase if inputs.get("upper", True) else "", inputs.get("minUpper", 0)),
        (string.digits if numeric else "", inputs.get("minNumeric", 0)),
        (
            (inputs.get("overrideSpecial") or _SPECIAL) if inputs.get("special", True) else "",
            inputs.get("minSpecial", 0),
        ),
    ]


def draw_text(inputs: Props) -> str:
    """A text of ``length`` characters: the least number of each class, the rest from all of them."""
    classes = _classes(inputs)
    drawn = [secrets.choice(characters) for characters, least in classes if characters for _ in range(least)]
    alphabet = "".join(characters for characters, _ in classes)
    drawn += [secrets.choice(alphabet) for _ in range(inputs["length"] - len(drawn))]
    secrets.SystemRandom().shuffle(drawn)
    return "".join(drawn)


class RandomId(RandomValue):
    """Random bytes as an identifier in several spellings."""

    token = "random:index/randomId:RandomId"
    fields = (
        _fixed("byteLength", INT, required=True),
        KEEPERS,
        Field(name="prefix", replace=True),
        *(_output(name) for name in ("b64Std", "b64Url", "dec", "hex")),
    )

    def validate(self, inputs: Props) -> Mapping[str, str]:
        return _at_least_one(inputs, "byteLength")

    def draw(self, inputs: Props) -> State:
        return self._state(secrets.token_bytes(inputs["byteLength"]), inputs)

    def adopt(self, ident: str) -> State:
        prefix, _, text = ident.rpartition(",")
        raw = _decoded(self.token, text, "[prefix,]URL-safe base64")
        return self._state(raw, {"byteLength": len(raw), **({"prefix": prefix} if prefix else {})})

    def _state(self, raw: bytes, inputs: Props) -> State:
        prefix = inputs.get("prefix", "")
        url = base64.urlsafe_b64encode(raw).decode().rstrip("=")
        outputs = {
            **self.declared(inputs),
            "b64Url": prefix + url,
            "b64Std": prefix + base64.b64encode(raw).decode(),
            "hex": prefix + raw.hex(),
            "dec": prefix + str(int.from_bytes(raw, "big")),
        }
        return State(id=url, outputs=outputs)


class RandomBytes(RandomValue):
    """Secret random bytes."""

    token = "random:index/randomBytes:RandomBytes"
    fields = (
        _fixed("length", INT, required=True),
        KEEPERS,
        _output("base64", secret=True),
        _output("hex", secret=True),
    )

    def validate(self, inputs: Props) -> Mapping[str, str]:
        return _at_least_one(inputs, "length")

    def draw(self, inputs: Props) -> State:
        return self._state(secrets.token_bytes(inputs["length"]), inputs)

    def adopt(self, ident: str) -> State:
        raw = _decoded(self.token, ident, "base64")
        return self._state(raw, {"length": len(raw)})

    def _state(self, raw: bytes, inputs: Props) -> State:
        outputs = {
            **self.declared(inputs),
            "base64": base64.b64encode(raw).decode(),
            "hex": raw.hex(),
        }
        return State(id="none", outputs=outputs)


class RandomUuid(RandomValue):
    """A version 4 UUID."""

    token = "random:index/randomUuid:RandomUuid"
    fields = (KEEPERS, _output("result"))

    def draw(self, inputs: Props) -> State:
        result = str(uuid.uuid4())
        return State(id=result, outputs={**self.declared(inputs), "result": result})

    def adopt(self, ident: str) -> State:
        try:
            result = str(uuid.UUID(ident))
        except ValueError as problem:
            raise _bad_import(self.token, ident, "a UUID") from problem
        return State(id=result, outputs={**self.declared({}), "result": result})


class RandomUuid4(RandomUuid):
    """A version 4 UUID, under the name that says so."""

    token = "random:index/randomUuid4:RandomUuid4"


class RandomInteger(RandomValue):
    """A whole number between two, both included."""

    token = "random:index/randomInteger:RandomInteger"
    fields = (
        _fixed("min", INT, required=True),
        _fixed("max", INT, required=True),
        KEEPERS,
        _output("result", INT),
    )

    def validate(self, inputs: Props) -> Mapping[str, str]:
        least, most = inputs.get("min"), inputs.get("max")
        if isinstance(least, int) and isinstance(most, int) and least > most:
            return {"min": f"given {least}, more than max {most}"}
        return {}

    def draw(self, inputs: Props) -> State:
        result = inputs["min"] + secrets.randbelow(inputs["max"] - inputs["min"] + 1)
        return State(id=str(result), outputs={**self.declared(inputs), "result": result})

    def adopt(self, ident: str) -> State:
        try:
            result, least, most = (int(part) for part in ident.split(","))
        except ValueError as problem:
            raise _bad_import(self.token, ident, "result,min,max") from problem
        return State(id=str(result), outputs={**self.declared({"min": least, "max": most}), "result": result})


def _at_least_one(inputs: Props, name: str) -> Mapping[str, str]:
    length = inputs.get(name)
    if isinstance(length, int) and length < 1:
        return {name: f"given {length}; permitted: 1 or more"}
    return {}


def _decoded(token: str, text: str, form: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_" if "URL" in form else None)
    except ValueError as problem:
        raise _bad_import(token, text, form) from problem


def _bad_import(token: str, ident: str, form: str) -> LabError:
    # Some of these ids are the secret itself, so the message leaves it out.
    return LabError(f"the given id of {len(ident)} characters is none to import {token} by", permitted=form)


TYPES: tuple[type[RandomValue], ...] = (
    RandomPassword,
    RandomString,
    RandomId,
    RandomBytes,
    RandomUuid,
    RandomUuid4,
    RandomInteger,
)
