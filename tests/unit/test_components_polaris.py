"""Polaris as a workload: its configuration, its storage, and the script that starts it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pulumi
import pytest

from components.catalog import CatalogArgs
from components.nessie.properties import application_properties as nessie_properties
from components.polaris import workload
from components.polaris.properties import (
    REALM,
    ROOT_CLIENT_ID,
    admin_properties,
    application_properties,
    catalog_properties,
    root_credentials,
    storage_config,
)
from contracts.identity import CATALOG_ROLE_PREFIX, CATALOG_ROLES_CLAIM
from tests.unit.layouts import layout
from tests.unit.slots import make_slot

LAUNCH = Path(__file__).parents[2] / "components" / "polaris" / "launch.py"
LAYOUT = layout(
    {"http": 28012, "management": 28013},
    artifact_dir=PurePosixPath("/opt/polaris"),
    cache_dir=PurePosixPath("/cache/warm/x"),
    java_home=PurePosixPath("/java"),
)
ARGS = CatalogArgs(
    warehouse="lake",
    realm_url="http://keycloak/realms/lab",
    issuer_url="http://issuer/realms/lab",
    jwks_url="http://keycloak/realms/lab/protocol/openid-connect/certs",
    database_jdbc_url="jdbc:postgresql://127.0.0.1:5432/catalog",
    database_role="catalog_owner",
    database_password="database-password",
    location="s3://lakehouse/warehouse",
    s3_endpoint_url="http://127.0.0.1:9000",
    s3_sts_endpoint_url="http://127.0.0.1:9000",
    s3_region="us-east-1",
    s3_path_style="true",
    s3_access_key="store-access-key",
    s3_secret_key="store-secret-key",
    root_secret="root-secret-value",
    token_private_key="pem-of-the-token-key",
    token_public_key="public-key",
)


def _properties(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


@pytest.fixture
def server() -> dict[str, str]:
    return _properties(
        application_properties(
            LAYOUT, realm_url=ARGS.realm_url, issuer_url=ARGS.issuer_url, jwks_url=ARGS.jwks_url
        )
    )


def test_server_and_admin_tool_share_database_and_realm(server: dict[str, str]) -> None:
    admin = _properties(admin_properties())
    assert admin.items() <= server.items()
    assert admin["polaris.realm-context.realms"] == REALM
    assert list(json.loads(root_credentials("s"))) == [REALM]


def test_listens_on_the_loopback_alone_and_writes_no_log_file(server: dict[str, str]) -> None:
    assert server["quarkus.http.host"] == server["quarkus.management.host"] == "127.0.0.1"
    assert (server["quarkus.http.port"], server["quarkus.management.port"]) == ("28012", "28013")
    assert server["quarkus.log.file.enabled"] == "false"


def test_tokens_of_people_and_of_the_root_principal(server: dict[str, str]) -> None:
    assert server["polaris.authentication.type"] == "mixed"
    assert server["quarkus.oidc.token.issuer"] == ARGS.issuer_url
    assert server["quarkus.oidc.token.audience"] == "catalog"
    assert server["quarkus.oidc.roles.role-claim-path"] == CATALOG_ROLES_CLAIM
    mapper = "polaris.oidc.principal-roles-mapper"
    assert server[f"{mapper}.filter"] == f"^{CATALOG_ROLE_PREFIX}.*$"
    assert server[f"{mapper}.mappings[0].regex"] == f"^{CATALOG_ROLE_PREFIX}(.*)$"
    assert server[f"{mapper}.mappings[0].replacement"] == "PRINCIPAL_ROLE:$1"
    keys = "polaris.authentication.token-broker.rsa-key-pair"
    assert server[f"{keys}.private-key-file"] == "/labs/my lab/files/token-private.pem"


def test_both_catalogs_listen_and_take_tokens_alike(server: dict[str, str]) -> None:
    nessie = _properties(
        nessie_properties(
            LAYOUT,
            warehouse=ARGS.warehouse,
            realm_url=ARGS.realm_url,
            issuer_url=ARGS.issuer_url,
            jwks_url=ARGS.jwks_url,
        )
    )
    alike = [
        key for key in server if key.startswith(("quarkus.oidc.", "quarkus.http.", "quarkus.management."))
    ]
    assert len(alike) == 15
    assert {key: nessie.get(key) for key in alike} == {key: server[key] for key in alike}


async def test_no_secret_in_the_command_or_in_a_configuration_file() -> None:
    made = workload(ARGS, LAYOUT)
    plain = [str(word) for word in made.command]
    plain += [str(made.files[name]) for name in ("application.properties", "admin.properties")]
    for secret in ("database-password", "store-secret-key", "root-secret-value", "pem-of-the-token-key"):
        assert not [text for text in plain if secret in text], secret
    credentials = await pulumi.Output.from_input(made.files["root-credentials.json"]).future()
    assert json.loads(credentials or "") == {
        REALM: {"client-id": ROOT_CLIENT_ID, "client-secret": "root-secret-value"}
    }


async def test_the_command_bootstraps_with_the_admin_tool_and_runs_the_server() -> None:
    command = [str(word) for word in workload(ARGS, LAYOUT).command]
    assert command[:4] == [
        "/venv/bin/python",
        "/checkout/components/polaris/launch.py",
        # A path would be split at the blank (https://quarkus.io/guides/config-reference).
        "file:///labs/my%20lab/files/admin.properties",
        "--",
    ]
    end = command.index("--", 4)
    admin, server = command[4:end], command[end + 1 :]
    assert admin[0] == server[0] == "/java/bin/java"
    assert admin[admin.index("-jar") + 1 :] == [
        "/opt/polaris/admin/quarkus-run.jar",
        "bootstrap",
        "--credentials-file",
        "/labs/my lab/files/root-credentials.json",
    ]
    assert server[-2:] == ["-jar", "/opt/polaris/server/quarkus-run.jar"]
    archives = {
        [w for w in program if w.startswith("-XX:SharedArchiveFile")][-1] for program in (admin, server)
    }
    assert len(archives) == 2


def test_an_own_store_has_its_addresses_and_no_kms() -> None:
    config = json.loads(storage_config(make_slot().warehouse))
    assert config == {
        "storageType": "S3",
        "allowedLocations": ["s3://lakehouse/warehouse"],
        "roleArn": "arn:aws:iam::000000000000:role/lakehouse",
        "region": "us-east-1",
        "pathStyleAccess": True,
        "endpoint": "http://127.0.0.1:9000",
        "stsEndpoint": "http://127.0.0.1:9000",
        "kmsUnavailable": True,
    }
    properties = json.loads(catalog_properties(make_slot().warehouse))
    assert properties["default-base-location"] in config["allowedLocations"]


def test_the_cloud_provider_s_store_is_found_by_itself() -> None:
    role = "arn:aws:iam::123456789012:role/lab"
    warehouse = dataclasses.replace(make_slot().warehouse, role_arn=role, path_style=False)
    config = json.loads(storage_config(warehouse))
    assert config["roleArn"] == role
    assert config["pathStyleAccess"] is False
    assert not {"endpoint", "stsEndpoint", "kmsUnavailable"} & config.keys()


def _launch(*arguments: str) -> subprocess.CompletedProcess[str]:
    # Isolated: the script must run without the checkout or any package on the path.
    command = [sys.executable, "-I", str(LAUNCH), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


SHOW = "import os, sys; print(sys.argv[1], os.getpid(), os.environ.get('QUARKUS_CONFIG_LOCATIONS'))"


def test_launch_bootstraps_and_becomes_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUARKUS_CONFIG_LOCATIONS", "file:///server")
    admin = [sys.executable, "-c", SHOW, "admin"]
    server = [sys.executable, "-c", SHOW + "; sys.exit(7)", "server"]
    with subprocess.Popen(
        [sys.executable, "-I", str(LAUNCH), "file:///admin", "--", *admin, "--", *server],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        out, _ = process.communicate(timeout=30)
    first, second = (line.split() for line in out.splitlines())
    assert first[0::2] == ["admin", "file:///admin"]
    assert second == ["server", str(process.pid), "file:///server"]
    assert process.returncode == 7


@pytest.mark.parametrize(
    ("failure", "code"), [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", 1)], ids=["error", "killed"]
)
def test_launch_starts_no_server_when_the_bootstrap_fails(failure: str, code: int) -> None:
    admin = [sys.executable, "-c", f"import os, sys; {failure}"]
    result = _launch("file:///admin", "--", *admin, "--", sys.executable, "-c", "print('server')")
    assert result.returncode == code
    assert "the server is not started" in result.stdout
    assert "server\n" not in result.stdout.splitlines(keepends=True)


@pytest.mark.parametrize(
    "arguments",
    [(), ("c",), ("c", "--"), ("c", "--", "admin"), ("c", "--", "admin", "--"), ("c", "x", "--", "y")],
)
def test_launch_refuses_what_it_does_not_understand(arguments: tuple[str, ...]) -> None:
    result = _launch(*arguments)
    assert result.returncode == 2
    assert "usage" in result.stderr
