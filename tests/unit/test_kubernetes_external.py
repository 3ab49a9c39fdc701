"""PostgreSQL and S3 of the user's own: how they are named, and what is checked before a lab is made in them.

Against a real PostgreSQL and a real MinIO; a store that ignores session policies is a fake, since none of
those that the lab can fetch does.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from botocore.exceptions import ClientError

from contracts.errors import PreflightError, UsageError
from contracts.settings import Settings, cache_home, program_settings, read_settings
from contracts.versions import MINIO
from placements.kubernetes.external import check_given, database_server, store, store_checks
from placements.kubernetes.external.database_checks import converge
from placements.kubernetes.external.servers import ServersProvider
from placements.local.artifacts import SilentProgress, ensure
from placements.local.foundation import STORE_USERS, store_admin
from placements.local.foundation import store as policies
from tests.unit import governor_postgres

postgres_server = governor_postgres.postgres_server

URL = "postgresql://admin:pass%40word@db.example:6432/main?sslmode=verify-full&sslrootcert=/ca.pem"
KEYS = {user: [f"{user}-id", f"{user}-secret-key"] for user in STORE_USERS}


def settings(**values: str) -> Settings:
    given = {
        "databaseUrl": URL,
        "objectStoreUrl": "https://s3.example",
        "objectStoreKeys": json.dumps(KEYS),
        **values,
    }
    return read_settings({"role": "persistent", "placement": "kubernetes", **given}, {})


# --- how they are named


def test_a_database_url_is_read_to_the_end() -> None:
    found = database_server(URL)
    assert (found.host, found.port, found.database) == ("db.example", 6432, "main")
    assert (found.role, found.password) == ("admin", "pass@word")
    assert (found.ssl_mode, found.root_certificate) == ("verify-full", "/ca.pem")
    plain = database_server("postgresql://a:b@h")
    assert (plain.port, plain.database, plain.ssl_mode) == (5432, "postgres", "require")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://h/d", "no user; no password"),
        ("postgresql://u:secret-pw@/d", "no host"),
        ("postgresql://u:secret-pw@h:99999/d", "no valid port"),
        ("postgresql://u:secret-pw@h/d?sslmode=maybe", "sslmode maybe"),
        ("postgresql://u:secret-pw@h/d?options=-c", "unknown options options"),
    ],
)
def test_a_wrong_url_is_explained_and_not_repeated(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        database_server(url)
    assert "secret-pw" not in str(caught.value)


@pytest.mark.parametrize(
    "keys", ["x", "[]", '{"catalog": ["secret-key-id", "s"]}', '{"catalog": "secret-key-id"}']
)
def test_wrong_keys_are_explained_and_not_repeated(keys: str) -> None:
    with pytest.raises(UsageError, match="objectStoreKeys") as caught:
        store(settings(objectStoreKeys=keys))
    assert "secret-key-id" not in str(caught.value)


def test_buckets_have_the_labs_name_where_none_is_given() -> None:
    found = store(settings(policyBucket="team-policy"))
    assert (found.bucket, found.policy_bucket, found.path_style) == ("lab-warehouse", "team-policy", True)


@pytest.mark.parametrize("absent", ["databaseUrl", "objectStoreUrl", "objectStoreKeys"])
def test_what_is_not_named_is_asked_for(absent: str) -> None:
    with pytest.raises(UsageError, match="not named") as caught:
        check_given(settings(**{absent: ""}))
    secret = "" if absent == "objectStoreUrl" else "--secret "
    assert f"pulumi config set -s persistent {secret}{absent}" in str(caught.value)
    check_given(settings())


def test_a_secret_setting_in_plain_text_is_refused_and_not_repeated() -> None:
    config = {"role": "persistent", "placement": "kubernetes", "databaseUrl": URL}
    env = {"PULUMI_CONFIG": json.dumps({f"lakehouse-lab:{key}": value for key, value in config.items()})}
    with pytest.raises(UsageError, match="kept in plain text") as caught:
        program_settings(env)
    assert "pass" not in str(caught.value).replace("plain text", "")
    encrypted = {**env, "PULUMI_CONFIG_SECRET_KEYS": json.dumps(["lakehouse-lab:databaseUrl"])}
    assert program_settings(encrypted).values["databaseUrl"] == URL


# --- PostgreSQL


def _server(postgres: str, role: str, password: str = "unused") -> dict[str, Any]:  # it trusts everybody
    port = int(postgres.rsplit(":", 1)[1])
    url = f"postgresql://{role}:{password}@127.0.0.1:{port}/postgres?sslmode=disable"
    return dict(vars(database_server(url)))


@pytest.fixture(scope="module")
def operator(postgres_server: str) -> str:
    """A role as managed servers give: no superuser."""
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute("CREATE ROLE operator LOGIN CREATEDB CREATEROLE")
        connection.execute("CREATE ROLE nobody LOGIN CREATEDB")
    return "operator"


@pytest.mark.parametrize("role", ["operator", "postgres"])
def test_databases_are_made_without_a_superuser_and_a_second_run_changes_nothing(
    postgres_server: str, operator: str, role: str
) -> None:
    name = f"lab_of_{role}"
    for _ in range(2):
        converge(_server(postgres_server, role), [name], {name: "a-password"})
    with psycopg.connect(f"{postgres_server}/{name}") as connection:
        owner = connection.execute(
            "SELECT r.rolname, pg_encoding_to_char(d.encoding) FROM pg_database d "
            "JOIN pg_roles r ON r.oid = d.datdba WHERE datname = %s",
            (name,),
        ).fetchone()
        assert owner == (name, "UTF8")
        rights = "SELECT has_database_privilege('nobody', %s, 'CONNECT')"
        assert connection.execute(rights, (name,)).fetchone() == (False,)
        verifier = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (name,))
        assert str(verifier.fetchone()[0]).startswith("SCRAM-SHA-256$")  # type: ignore[index]  # it is there


def test_a_role_without_the_rights_is_refused_with_the_statement_that_grants_them(
    postgres_server: str, operator: str
) -> None:
    with pytest.raises(PreflightError, match="may not make") as caught:
        converge(_server(postgres_server, "nobody"), ["never_made"], {"never_made": "x"})
    assert 'ALTER ROLE "nobody" CREATEROLE' in str(caught.value)
    with psycopg.connect(f"{postgres_server}/postgres") as connection:
        found = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'never_made'").fetchone()
    assert found is None


def test_an_old_server_is_refused(
    postgres_server: str, operator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("placements.kubernetes.external.database_checks.MINIMUM_VERSION", 990000)
    with pytest.raises(PreflightError, match="too old") as caught:
        converge(_server(postgres_server, operator), [], {})
    assert "99 or newer" in str(caught.value)


def test_a_server_without_tls_is_refused_unless_it_was_asked_for(postgres_server: str, operator: str) -> None:
    server = {**_server(postgres_server, operator), "ssl_mode": "require"}
    with pytest.raises(PreflightError, match="does not support SSL"):
        converge(server, [], {})


def test_a_server_that_is_away_is_named_without_its_password() -> None:
    server = dict(vars(database_server("postgresql://u:secret-pw@127.0.0.1:1/d?sslmode=disable")))
    with pytest.raises(PreflightError, match=r"127\.0\.0\.1:1 refuses") as caught:
        converge(server, [], {})
    assert "secret-pw" not in str(caught.value)


# --- S3


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A MinIO with the lab's buckets and users, as somebody who runs one would make them."""
    folder = tmp_path_factory.mktemp("minio")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    program = ensure(MINIO, cache_home(), SilentProgress()) / "minio"
    environment = {
        "MINIO_ROOT_USER": "root-user",
        "MINIO_ROOT_PASSWORD": "root-password",
        "HOME": str(folder),
    }
    command = [str(program), "server", "--quiet", "--address", address, str(folder / "data")]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await(f"http://{address}/minio/health/cluster", server)
        users = {
            "catalog": policies.catalog_policy(bucket="lab-warehouse", prefix="warehouse"),
            "governor": policies.governor_policy(bucket="lab-policy"),
            "opa": policies.opa_policy(bucket="lab-policy"),
        }
        store_admin.converge(
            {
                "endpoint": address,
                "region": "us-east-1",
                "root_user": "root-user",
                "root_password": "root-password",
                "buckets": {"lab-warehouse": "plain", "lab-policy": "plain"},
                "users": {f"{user}-id": json.dumps(policy) for user, policy in users.items()},
                "secret_keys": {f"{user}-id": f"{user}-secret-key" for user in users},
            }
        )
        yield {**vars(store(settings(objectStoreUrl=f"http://{address}")))}
    finally:
        server.terminate()
        server.wait(timeout=20)


def _await(url: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        assert server.poll() is None
        assert time.monotonic() < end, "MinIO does not answer"
        time.sleep(0.1)


def test_a_store_that_narrows_sessions_is_accepted_and_left_clean(minio: dict[str, Any]) -> None:
    store_checks.check(minio)
    client = store_checks._client("s3", minio, minio["keys"]["catalog"])
    assert "Contents" not in client.list_objects_v2(Bucket="lab-warehouse")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bucket": "absent"}, "catalog can't list bucket 'absent'"),
        ({"policy_bucket": "lab-warehouse"}, "governor can't list bucket 'lab-warehouse'"),
        ({"keys": {**KEYS, "catalog": ["catalog-id", "wrong-secret"]}}, "catalog can't list bucket"),
        ({"keys": {**KEYS, "catalog": KEYS["governor"]}}, "catalog can't list bucket"),
        ({"keys": {**KEYS, "opa": KEYS["catalog"]}}, "opa can't read in bucket"),
        ({"endpoint_url": "http://127.0.0.1:1"}, "Could not connect"),
    ],
)
def test_what_a_store_lacks_is_named(minio: dict[str, Any], change: Mapping[str, Any], said: str) -> None:
    with pytest.raises(PreflightError, match=said) as caught:
        store_checks.check({**minio, **change})
    assert "secret" not in str(caught.value).replace("--secret", "")


class _Store:
    """S3 and STS whose sessions may do whatever their user may, but what ``refused`` names."""

    def __init__(self, refused: frozenset[str] = frozenset()) -> None:
        self.refused = refused
        self.objects: dict[str, bytes] = {}

    def client(self, service: str, _store: Any, _keys: Any, *, token: str | None = None) -> _Client:
        return _Client(self, self.refused if token else frozenset())


class _Client:
    def __init__(self, store: _Store, refused: frozenset[str]) -> None:
        self._store, self._refused = store, refused

    def list_objects_v2(self, **_: Any) -> dict[str, Any]:
        return {}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> None:
        self._check("put", Key)
        self._store.objects[Key] = Body

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        self._check("get", Key)
        return {"Body": _Body(self._store.objects[Key])}

    def delete_object(self, *, Bucket: str, Key: str) -> None:
        self._store.objects.pop(Key)

    def assume_role(self, **_: Any) -> dict[str, Any]:
        return {"Credentials": {"AccessKeyId": "a", "SecretAccessKey": "b", "SessionToken": "c"}}

    def _check(self, verb: str, key: str) -> None:
        if f"{verb} {key.split('/')[-2]}" in self._refused:
            answer: Any = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
            raise ClientError(answer, verb)


class _Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self) -> bytes:
        return self._content


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (frozenset(), "a session reads what its policy does not allow"),
        (frozenset({"get outside"}), "a session writes what its policy does not allow"),
        (frozenset({"get inside"}), "can't read what its policy allows"),
    ],
)
def test_a_store_that_does_not_narrow_sessions_is_refused_and_left_clean(
    monkeypatch: pytest.MonkeyPatch, refused: frozenset[str], said: str
) -> None:
    fake = _Store(refused)
    monkeypatch.setattr(store_checks, "_client", fake.client)
    with pytest.raises(PreflightError, match=said):
        store_checks.check(vars(store(settings())))
    assert fake.objects == {}
    fake.refused = frozenset({"get outside", "put inside"})
    store_checks.check(vars(store(settings())))


# --- the resource


def test_nothing_changes_while_nothing_was_changed_and_nothing_is_ever_deleted() -> None:
    provider = ServersProvider()
    known = {"server": {"host": "h"}, "store": {}, "databases": ["a"], "passwords": {"a": "p"}, "digest": "1"}
    assert provider.diff("id", {**known}, {**known}).changes is False
    assert provider.diff("id", known, {**known, "passwords": {"a": "q"}}).changes is True
    assert provider.diff("id", known, {**known, "databases": ["a", "b"]}).changes is True
    provider.delete("id", known)


def test_a_root_certificate_is_named_by_an_absolute_path(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sslrootcert"):
        database_server("postgresql://u:p@h/d?sslrootcert=ca.pem")
    assert database_server(f"postgresql://u:p@h/d?sslrootcert={tmp_path}/ca.pem").root_certificate
