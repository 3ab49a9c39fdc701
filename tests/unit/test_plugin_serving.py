"""The plugin process, its launcher, its wire values, and its compatibility with the provider SDKs."""

from __future__ import annotations

import functools
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pulumi
import pulumi_keycloak
import pulumi_random
import pytest
from google.protobuf import empty_pb2
from hypothesis import given
from hypothesis import strategies as st
from pulumi.runtime.proto import provider_pb2 as pb
from pulumi.runtime.proto import provider_pb2_grpc

from plugins.base import Provider
from plugins.install import PLUGINS, install
from plugins.keycloak.provider import TYPES, KeycloakProvider
from plugins.kinds import DURATION, MULTI_MAP, PART_SET, TEXT_MAP, seconds
from plugins.resource import Field, ResourceType, State, Update
from plugins.values import UNKNOWN, Props, decode, encode, has_unknown
from tests.unit.plugin_engine import engine_for

# Wire values

PLAIN = st.recursive(
    st.booleans()
    | st.integers(-(2**50), 2**50)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.just(UNKNOWN),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(min_size=1), inner),
    max_leaves=20,
)


@given(props=st.dictionaries(st.text(min_size=1), PLAIN), seed=st.randoms())
def test_values_come_back_as_sent(props: Props, seed: Any) -> None:
    secrets = frozenset(name for name in props if seed.random() < 0.5)
    assert decode(encode(props, secrets)) == (props, secrets)


def test_a_secret_deep_inside_makes_its_property_secret() -> None:
    inner = encode({"value": "shh"}, {"value"})
    outer = encode({"other": 1})
    outer.fields["password"].struct_value.CopyFrom(inner)
    props, secrets = decode(outer)
    assert props == {"other": 1, "password": {"value": "shh"}}
    assert secrets == {"password"}


def test_unknowns_are_seen_at_any_depth() -> None:
    assert has_unknown({"a": [{"b": UNKNOWN}]})
    assert not has_unknown({"a": [{"b": ""}]})


@pytest.mark.parametrize(
    ("text", "expected_s"), [("90", 90), ("90s", 90), ("1h30m", 5400), ("8h0m0s", 28_800), ("5m", 300)]
)
def test_durations(text: str, expected_s: int) -> None:
    assert seconds(text) == expected_s
    assert DURATION.same(text, DURATION.read(expected_s))


def test_owned_parts_of_maps_and_sets() -> None:
    assert TEXT_MAP.same({"a": "1"}, {"a": "1", "theirs": "x"})
    assert not TEXT_MAP.same({"a": "1"}, {"a": "1", "dropped": "x"}, {"a": "1", "dropped": "x"})
    assert MULTI_MAP.same({"a": "1##2"}, {"a": "2##1"})
    assert PART_SET.same(["a"], ["b", "a"])
    assert not PART_SET.same(["a"], ["b", "a"], ["a", "b"])


# The official SDKs: names on the wire


def _source(kind: type) -> str:
    """The text of a class. ``inspect`` would parse its whole module anew for each."""
    text = Path(str(sys.modules[kind.__module__].__file__)).read_text(encoding="utf-8")
    start = text.index(f"\nclass {kind.__name__}(")
    return text[start : text.find("\nclass ", start + 1)]


@functools.cache
def _sdk() -> dict[str, type]:
    """The SDKs' resources by token."""
    # The SDK imports its modules when they are first used.
    for used in (pulumi_random.RandomUuid, pulumi_keycloak.openid.Client):
        assert issubclass(used, pulumi.CustomResource)
    found = {}
    for module in ("pulumi_keycloak", "pulumi_keycloak.openid", "pulumi_random"):
        for _, kind in inspect.getmembers(sys.modules[module], inspect.isclass):
            if issubclass(kind, pulumi.CustomResource):
                token = re.search(r"'((?:keycloak|random):[^']+)'", _source(kind))
                if token:
                    found[token.group(1)] = kind
    return found


NOT_SERVED = {
    "keycloak:index/group:Group": {"organizationId"},
    "keycloak:index/user:User": {"federatedIdentities"},
    "keycloak:openid/client:Client": {"authorization", "clientSecretWo", "clientSecretWoVersion"},
    "random:index/randomInteger:RandomInteger": {"seed"},
}


def _wire_names(kind: type) -> set[str]:
    getter = re.compile(r'@pulumi\.getter(?:\(name="(\w+)"\))?\n(?:    @.*\n)*    def (\w+)')
    return {wire or plain for wire, plain in getter.findall(_source(kind))}


def _all_types() -> list[type[ResourceType[Any]]]:
    from plugins.random.types import TYPES as RANDOM_TYPES

    return [*TYPES, *RANDOM_TYPES]


@pytest.mark.parametrize("kind", _all_types(), ids=lambda kind: kind.__name__)
def test_fields_are_those_of_the_official_sdk(kind: type[ResourceType[Any]]) -> None:
    served = {f.name for f in kind.fields}
    official = _wire_names(_sdk()[kind.token])
    assert served <= official
    assert official - served == NOT_SERVED.get(kind.token, set())


def test_versions_are_those_the_sdk_asks_for() -> None:
    plugin_json = Path(pulumi_keycloak.__file__).with_name("pulumi-plugin.json")
    assert KeycloakProvider().version == json.loads(plugin_json.read_text(encoding="utf-8"))["version"]


def test_schema_names_every_type() -> None:
    with engine_for(KeycloakProvider()) as engine:
        schema = json.loads(engine.stub.GetSchema(pb.GetSchemaRequest()).schema)
    assert schema["resources"].keys() == {kind.token for kind in TYPES}
    client = schema["resources"]["keycloak:openid/client:Client"]
    assert client["properties"]["clientSecret"]["secret"] is True
    assert client["requiredInputs"] == ["realmId", "accessType"]


# Configuration


def test_configuration_in_the_sdk_s_json_form() -> None:
    config, failures = KeycloakProvider().check_config(
        {
            "url": "http://x",
            "tlsInsecureSkipVerify": "true",
            "clientTimeout": "7",
            "additionalHeaders": '{"a": "b"}',
        }
    )
    assert failures == {}
    assert config == {
        "url": "http://x",
        "tlsInsecureSkipVerify": True,
        "clientTimeout": 7,
        "additionalHeaders": {"a": "b"},
    }


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"url": "http://x", "jwtSigningKey": "k"}, "not served"),
        ({"clientTimeout": "soon"}, "a whole number"),
    ],
)
def test_wrong_configuration_is_refused(config: Props, said: str) -> None:
    with engine_for(KeycloakProvider()) as engine:
        reply = engine.stub.CheckConfig(pb.CheckRequest(news=encode(config)))
        assert said in reply.failures[0].reason
        with pytest.raises(grpc.RpcError, match="configured wrongly"):
            engine.configure(**config)


@pytest.mark.parametrize(
    ("config", "said"),
    [({}, "KEYCLOAK_URL"), ({"url": "http://127.0.0.1:9"}, "clientId with clientSecret")],
)
def test_missing_configuration_is_said_at_first_use(
    config: Props, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("KEYCLOAK_")]:
        monkeypatch.delenv(name)
    with engine_for(KeycloakProvider()) as engine:
        engine.configure(**config)
        with pytest.raises(grpc.RpcError, match=said):
            engine.up("keycloak:index/realm:Realm", "it", {})


def test_a_changed_address_replaces_nothing() -> None:
    with engine_for(KeycloakProvider()) as engine:
        request = pb.DiffRequest(old_inputs=encode({"url": "a"}), news=encode({"url": "b"}))
        reply = engine.stub.DiffConfig(request)
    assert (list(reply.diffs), list(reply.replaces)) == (["url"], [])


def test_unknown_configuration_previews_and_does_not_run() -> None:
    with engine_for(KeycloakProvider()) as engine:
        engine.configure(url=UNKNOWN, clientSecret="s")
        assert engine.preview("keycloak:index/realm:Realm", "it", {})["realm"] == "it"
        with pytest.raises(grpc.RpcError, match="not known yet"):
            engine.up("keycloak:index/realm:Realm", "it", {})


def test_nothing_listens_is_a_clear_error() -> None:
    with engine_for(KeycloakProvider()) as engine:
        engine.configure(url="http://127.0.0.1:9", username="u", password="hidden")
        with pytest.raises(grpc.RpcError) as caught:
            engine.up("keycloak:index/realm:Realm", "it", {})
    assert "Keycloak does not answer at http://127.0.0.1:9/" in caught.value.details()
    assert "hidden" not in caught.value.details()


# Requests at once, cancelling


class Slow(ResourceType[None]):
    """Creates that wait until they are let go."""

    token = "slow:index:Slow"
    fields = (Field(name="name", required=True),)

    def __init__(self) -> None:
        self.started = threading.Semaphore(0)
        self.go = threading.Event()

    def create(self, session: None, inputs: Props) -> State:
        self.started.release()
        assert self.go.wait(10)
        return State(id=inputs["name"], outputs=inputs)

    def read(self, session: None, ident: str, inputs: Props, recorded: Props) -> State | None:
        return State(id=ident, outputs=recorded)

    def update(self, session: None, update: Update) -> State:
        return State(id=update.id, outputs=update.declared)

    def delete(self, session: None, ident: str, recorded: Props) -> None:
        raise ValueError("a defect, not a LabError")


class SlowProvider(Provider[None]):
    """Serves it."""

    name = "slow"

    def connect(self, config: Props) -> None:
        """Nothing to connect to."""


def test_cancel_lets_running_creates_finish_and_begins_none() -> None:
    slow = Slow()
    with engine_for(SlowProvider("1.0.0", [slow])) as engine, ThreadPoolExecutor(4) as pool:
        running = [pool.submit(engine.up, Slow.token, name, {"name": name}) for name in ("a", "b")]
        for _ in running:
            assert slow.started.acquire(timeout=10)
        engine.stub.Cancel(empty_pb2.Empty())
        with pytest.raises(grpc.RpcError, match="interrupted before this resource"):
            engine.up(Slow.token, "c", {"name": "c"})
        slow.go.set()
        assert [done.result(10) for done in running] == ["create", "create"]
        assert engine.state.keys() == {"a", "b"}


def test_missing_services_are_unimplemented() -> None:
    with engine_for(SlowProvider("1.0.0", [Slow()])) as engine:
        assert engine.stub.Handshake(pb.ProviderHandshakeRequest()).accept_secrets
        assert engine.stub.GetPluginInfo(empty_pb2.Empty()).version == "1.0.0"
        calls: list[Callable[[], Any]] = [
            lambda: engine.stub.Construct(pb.ConstructRequest()),
            lambda: engine.stub.Call(pb.CallRequest()),
        ]
        for call in calls:
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        with pytest.raises(grpc.RpcError, match="no function of provider slow named 'slow:index:f'"):
            engine.stub.Invoke(pb.InvokeRequest(tok="slow:index:f"))


# The process


@pytest.fixture
def launchers(tmp_path: Path) -> Path:
    home = tmp_path / "plug ins"
    install(home, Path(sys.executable))
    return home


def _start(launcher: Path) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen([launcher, "127.0.0.1:1"], stdout=subprocess.PIPE, text=True, cwd="/")
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@pytest.mark.parametrize("name", PLUGINS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_launcher_serves_on_loopback_and_ends_at_once(name: str, number: int, launchers: Path) -> None:
    process, port = _start(launchers / f"pulumi-resource-{name}")
    with process, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = provider_pb2_grpc.ResourceProviderStub(channel)
        assert stub.GetPluginInfo(empty_pb2.Empty()).version
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(10) == 0
        # The engine waits for its plugins, so every operation would take this longer.
        assert time.monotonic() - began < 5


def test_install_again_keeps_the_launchers(launchers: Path) -> None:
    before = {path.name: path.stat().st_ino for path in launchers.iterdir()}
    install(launchers, Path(sys.executable))
    assert {path.name: path.stat().st_ino for path in launchers.iterdir()} == before
    assert before.keys() == {f"pulumi-resource-{name}" for name in PLUGINS}


def test_a_plugin_does_not_outlive_its_engine(launchers: Path) -> None:
    script = (
        "import subprocess, sys\n"
        "plugin = subprocess.Popen([sys.argv[1], '127.0.0.1:1'], stdout=subprocess.PIPE, text=True)\n"
        "plugin.stdout.readline()\n"
        "print(plugin.pid, flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, launchers / "pulumi-resource-random"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    pid = int(done.stdout)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "the plugin is still there"
        time.sleep(0.1)
