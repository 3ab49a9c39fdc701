"""The console as a workload: what it is told, and what it is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import PurePosixPath

from components.control_plane import ControlPlaneArgs, workload
from components.control_plane.properties import Probed, components_json, host_of
from components.registry import resolve, selected
from contracts.identity import Audience, lab_realm
from contracts.workload import Layout
from control_plane.api.settings import read_settings

LAYOUT = Layout(
    artifact_dir=PurePosixPath("/a"),
    files_dir=PurePosixPath("/f"),
    data_dir=PurePosixPath("/d"),
    scratch_dir=PurePosixPath("/s"),
    python="/py",
    source_dir=PurePosixPath("/src"),
    cache_dir=PurePosixPath("/c"),
    java_home=None,
    bind_address="127.0.0.1",
    ports={"http": 28032},
    also={"web": PurePosixPath("/w")},
)
PLAIN = {
    "CONSOLE_LAB": "lab",
    "CONSOLE_PUBLIC_URL": "http://127.0.0.1:28032",
    "CONSOLE_ALSO_HOSTS": "control-plane:8080",
    "CONSOLE_ISSUER_URL": "http://127.0.0.1:28008/realms/lab",
    "CONSOLE_REALM_URL": "http://127.0.0.1:28008/realms/lab",
    "CONSOLE_TRINO_URL": "https://127.0.0.1:28024",
    "CONSOLE_GOVERNOR_URL": "http://127.0.0.1:28020",
    "CONSOLE_AGENT_URL": "",
    "CONSOLE_SPARK_URL": "",
    "CONSOLE_CATALOG_KIND": "nessie",
}
SECRET = {
    "CONSOLE_DATABASE_URL": "postgresql://console:secret@127.0.0.1/console",
    "CONSOLE_ENCRYPTION_KEY": "secret" * 8,
    "CONSOLE_CLIENT_SECRET": "secret",
}


def test_the_workload_is_what_the_console_reads() -> None:
    listed = components_json([Probed(name="trino", title="Trino", probe_url="https://127.0.0.1/v1/info")])
    args = ControlPlaneArgs(plain=PLAIN, from_slot=SECRET, components=listed, ca_certificate="PEM")
    made = workload(args, LAYOUT)
    environment = {name: str(value) for name, value in made.env.items()}
    assert environment.pop("CONSOLE_COMPONENTS_FILE") == "/f/components.json"
    settings = read_settings(environment)
    assert settings.hosts == {"127.0.0.1:28032", "control-plane:8080"}
    assert (settings.port, settings.bind, settings.agent_url) == (28032, "127.0.0.1", None)
    assert str(settings.spool_dir) == "/d/results"
    assert str(settings.web_dir) == "/w"
    assert settings.logs_dir is None, "this placement keeps no logs in files"
    beside = workload(args, replace(LAYOUT, logs_dir=PurePosixPath("/l")))
    assert beside.env["CONSOLE_LOGS_DIR"] == "/l"
    assert json.loads(str(made.files["components.json"]))[0]["statuses"] == [200]
    assert "secret" not in json.dumps([str(part) for part in made.command]), "no secret is an argument"
    assert str(settings.upload_dir) == "/d/uploads"
    assert made.source == ("contracts", "governance", "ingestion", "spark_gateway", "control_plane/api")


def test_the_console_brings_what_it_asks() -> None:
    assert [info.name for info in selected(("console",), "nessie")] == [
        *("keycloak", "nessie", "opa", "governor", "trino", "control-plane"),
    ]
    assert resolve("viz-app").name == resolve("console").name == "control-plane"
    assert host_of("http://control-plane:8080/x") == "control-plane:8080"


def test_the_realm_gives_the_console_no_rights_and_every_audience_it_exchanges_for() -> None:
    client = next(c for c in lab_realm("lab").clients if c.client_id == "control-plane")
    assert client.pkce
    assert client.token_exchange
    assert not client.catalog_roles
    assert not client.realm_management_roles
    assert client.default_audiences == (Audience.CONTROL_PLANE,)
    assert set(client.optional_audiences) == set(Audience) - {Audience.CONTROL_PLANE}
    assert client.redirect_paths == ("/auth/callback",)
    assert client.backchannel_logout_path == "/auth/backchannel-logout"
