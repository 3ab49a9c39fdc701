"""Random types through the gRPC service."""

from __future__ import annotations

import base64
import string
from collections.abc import Iterator
from typing import Any

import bcrypt
import grpc
import pytest

from plugins.random.provider import RandomProvider
from plugins.random.types import TYPES
from plugins.values import UNKNOWN, Props, decode
from tests.unit.plugin_engine import MiniEngine, engine_for

PASSWORD, STRING = "random:index/randomPassword:RandomPassword", "random:index/randomString:RandomString"
ID, BYTES = "random:index/randomId:RandomId", "random:index/randomBytes:RandomBytes"
UUID, UUID4 = "random:index/randomUuid:RandomUuid", "random:index/randomUuid4:RandomUuid4"
INTEGER = "random:index/randomInteger:RandomInteger"

INPUTS: dict[str, Props] = {
    PASSWORD: {"length": 20},
    STRING: {"length": 8, "special": False},
    ID: {"byteLength": 8},
    BYTES: {"length": 16},
    UUID: {},
    UUID4: {},
    INTEGER: {"min": 1, "max": 10**9},
}


@pytest.fixture
def engine() -> Iterator[MiniEngine]:
    with engine_for(RandomProvider()) as engine:
        engine.configure()
        yield engine


def _value(outputs: Props) -> Any:
    return next(outputs[name] for name in ("result", "hex") if name in outputs)


def test_every_type_is_tried() -> None:
    assert INPUTS.keys() == {kind.token for kind in TYPES}


@pytest.mark.parametrize("token", INPUTS)
def test_a_value_stays_until_its_keepers_change(token: str, engine: MiniEngine) -> None:
    inputs = {**INPUTS[token], "keepers": {"rotation": "1"}}
    assert engine.up(token, "it", inputs) == "create"
    first = _value(engine.state["it"].outputs)
    assert engine.up(token, "it", inputs) == "same"
    assert engine.refresh("it") == "same"
    assert _value(engine.state["it"].outputs) == first
    assert engine.up(token, "it", {**inputs, "keepers": {"rotation": "2"}}) == "replace"
    second = _value(engine.state["it"].outputs)
    assert second != first
    assert engine.up(token, "it", INPUTS[token]) == "replace"
    assert _value(engine.state["it"].outputs) != second


@pytest.mark.parametrize("token", INPUTS)
def test_preview_knows_no_result(token: str, engine: MiniEngine) -> None:
    assert _value(engine.preview(token, "it", INPUTS[token])) is UNKNOWN


def test_a_replacement_is_made_before_the_old_value_goes(engine: MiniEngine) -> None:
    engine.up(UUID, "it", {})
    news = engine.check(UUID, "it", {"keepers": {"a": "1"}})
    diff = engine.diff(UUID, "it", news.inputs)
    assert list(diff.replaces) == ["keepers"]
    assert not diff.deleteBeforeReplace


def test_password_is_secret_and_in_no_id(engine: MiniEngine) -> None:
    engine.up(
        PASSWORD, "it", {"length": 100, "minLower": 30, "minUpper": 30, "minNumeric": 10, "minSpecial": 9}
    )
    held = engine.state["it"]
    result = held.outputs["result"]
    assert held.id == "none"
    assert {"result", "bcryptHash"} <= held.secrets
    assert bcrypt.checkpw(result.encode()[:72], held.outputs["bcryptHash"].encode())
    counts = [
        sum(c in characters for c in result)
        for characters in (
            string.ascii_lowercase,
            string.ascii_uppercase,
            string.digits,
            "!@#$%&*()-_=+[]{}<>:?",
        )
    ]
    assert sum(counts) == len(result) == 100
    assert all(count >= least for count, least in zip(counts, (30, 30, 10, 9), strict=True))
    engine.refresh("it")
    assert {"result", "bcryptHash"} <= engine.state["it"].secrets


def test_only_declared_characters_are_drawn(engine: MiniEngine) -> None:
    engine.up(STRING, "it", {"length": 200, "upper": False, "numeric": False, "overrideSpecial": "_"})
    outputs = engine.state["it"].outputs
    assert set(outputs["result"]) <= set(string.ascii_lowercase + "_")
    assert (outputs["number"], outputs["numeric"], outputs["lower"]) == (False, False, True)


def test_spellings_of_an_id_agree(engine: MiniEngine) -> None:
    engine.up(ID, "it", {"byteLength": 9, "prefix": "lab-"})
    outputs = engine.state["it"].outputs
    raw = bytes.fromhex(outputs["hex"].removeprefix("lab-"))
    assert len(raw) == 9
    assert base64.b64decode(outputs["b64Std"].removeprefix("lab-")) == raw
    assert engine.state["it"].id == base64.urlsafe_b64encode(raw).decode().rstrip("=")
    assert outputs["dec"] == f"lab-{int.from_bytes(raw, 'big')}"


def test_bytes_are_secret_in_both_spellings(engine: MiniEngine) -> None:
    engine.up(BYTES, "it", {"length": 32})
    held = engine.state["it"]
    assert {"base64", "hex"} <= held.secrets
    assert base64.b64decode(held.outputs["base64"]).hex() == held.outputs["hex"]


def test_integer_reaches_both_bounds(engine: MiniEngine) -> None:
    seen = set()
    for number in range(60):
        engine.up(INTEGER, f"it-{number}", {"min": -1, "max": 1})
        seen.add(engine.state[f"it-{number}"].outputs["result"])
    assert seen == {-1, 0, 1}


@pytest.mark.parametrize(
    ("token", "ident", "outputs"),
    [
        (PASSWORD, "pa55word", {"result": "pa55word", "length": 8}),
        (STRING, "abc", {"result": "abc", "length": 3}),
        (ID, "lab-,AAEC", {"hex": "lab-000102", "byteLength": 3, "prefix": "lab-"}),
        (BYTES, "AAEC", {"hex": "000102", "length": 3}),
        (UUID, "6f1f1ea2-3a1c-4f1b-9d2e-0a4d6f1b2c3d", {"result": "6f1f1ea2-3a1c-4f1b-9d2e-0a4d6f1b2c3d"}),
        (INTEGER, "7,1,9", {"result": 7, "min": 1, "max": 9}),
    ],
)
def test_import(token: str, ident: str, outputs: Props, engine: MiniEngine) -> None:
    reply = engine.read(token, "it", ident)
    found, secrets = decode(reply.properties)
    assert {name: found[name] for name in outputs} == outputs
    assert (token in (PASSWORD, BYTES)) is bool(secrets & {"result", "hex"})
    engine.state["it"] = engine.state.get("it") or _held(token, reply)
    assert engine.up(token, "it", decode(reply.inputs)[0]) == "same"


def _held(token: str, reply: Any) -> Any:
    from tests.unit.plugin_engine import Held

    outputs, secrets = decode(reply.properties)
    return Held(token=token, id=reply.id, inputs=decode(reply.inputs)[0], outputs=outputs, secrets=secrets)


def test_a_bad_import_does_not_show_what_may_be_secret(engine: MiniEngine) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        engine.read(BYTES, "it", "höchst geheim")
    assert "geheim" not in caught.value.details()
    assert "base64" in caught.value.details()


@pytest.mark.parametrize(
    ("token", "inputs", "failing"),
    [
        (PASSWORD, {}, "length"),
        (PASSWORD, {"length": 0}, "length"),
        (PASSWORD, {"length": 3, "minLower": 2, "minSpecial": 2}, "length"),
        (STRING, {"length": 3, "lower": False, "upper": False, "numeric": False, "special": False}, "length"),
        (INTEGER, {"min": 2, "max": 1}, "min"),
        (INTEGER, {"min": 1, "max": 2, "seed": "s"}, "seed"),
        (ID, {"byteLength": 0}, "byteLength"),
    ],
)
def test_check_says_what_is_wrong(token: str, inputs: Props, failing: str, engine: MiniEngine) -> None:
    assert [failure.property for failure in engine.check(token, "it", inputs).failures] == [failing]
