"""Two labs side by side on one machine: each has its own ports, home, people and keys, and neither notices
what becomes of the other. The state of the second one lies in a backend that its first ``up`` was told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import psycopg
import pytest
from minio import Minio
from minio.error import S3Error

from cli.ports import choose_block
from tests.live.conftest import SCALE_FACTOR, LiveLab, clean_environment, temporary_folder
from tests.live.test_lifecycle import pids

pytestmark = pytest.mark.live

UP = ("up", "--without", "trino", "--set", f"scaleFactor={SCALE_FACTOR}")
PORTS_PER_LAB = 200
Keys = dict[str, Any]


class Labs(NamedTuple):
    a: LiveLab
    b: LiveLab


@pytest.fixture(scope="module")
def labs() -> Iterator[Labs]:
    """Brought up at the same time, below one folder."""

    def bring_up(one: LiveLab) -> None:
        told = {"LAB_BACKEND_URL": f"file://{backend_of_b(one)}"} if one.home.name == "b" else {}
        first = replace(one, environment={**one.environment, **told})
        first.ok("--name", one.home.name, *UP, timeout_s=3000)

    with temporary_folder() as folder:
        (folder / "backend of b").mkdir()
        environment = {**clean_environment(), "LAB_HOME": str(folder)}
        made = Labs(
            *(LiveLab(environment={**environment, "LAB_NAME": n}, home=folder / n) for n in ("a", "b"))
        )
        try:
            with ThreadPoolExecutor(2) as both:
                list(both.map(bring_up, made))
            yield made
        finally:
            for one in made:
                one.run("destroy", "--yes", timeout_s=300)


def backend_of_b(one: LiveLab) -> Path:
    return one.home.parent / "backend of b"


def stacks(folder: Path) -> set[str]:
    """Names of the stacks that a file backend holds."""
    return {path.stem for path in (folder / ".pulumi" / "stacks").glob("*/*.json")}


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=30) as client:
        yield client


def ports(lab: LiveLab) -> set[int]:
    return {port for one in lab.supervisor.status() for port in one.ports.values()}


def first_port(lab: LiveLab) -> int:
    return min(ports(lab))


@pytest.fixture(scope="module")
def keys(labs: Labs) -> tuple[Keys, Keys]:
    """Addresses, passwords and client secrets of both, as an operator may read them."""
    return labs.a.keys(), labs.b.keys()


def ask_token(http: httpx.Client, at: Keys, of: Keys, audience: str) -> httpx.Response:
    """What the realm of ``at`` answers to the engineer of ``of``."""
    password = next(p["password"] for p in of["personas"] if p["username"] == "engineer")
    return http.post(
        f"{at['urls']['sign-in']}/protocol/openid-connect/token",
        data={
            "grant_type": "password",
            "client_id": "personas",
            "client_secret": of["keys"]["client personas"],
            "username": "engineer",
            "password": password,
            "scope": f"openid {audience}",
        },
    )


DOORS: dict[str, Callable[[dict[str, str]], str]] = {
    "catalog": lambda urls: f"{urls['catalog']}/v1/config?warehouse=lake",
    "governor": lambda urls: f"{urls['governor']}/v1/access/effective",
}


def test_each_has_ports_and_processes_of_its_own(labs: Labs) -> None:
    for one in labs:
        assert one.json("status")["ready"] is True
        assert max(ports(one)) - first_port(one) < PORTS_PER_LAB
    assert abs(first_port(labs.a) - first_port(labs.b)) >= PORTS_PER_LAB
    assert not set(pids(labs.a).values()) & set(pids(labs.b).values())
    assert labs.a.json("status")["labs"] == ["a", "b"]


def test_state_lies_where_the_first_up_was_told(labs: Labs) -> None:
    assert stacks(backend_of_b(labs.b)) == {"lab", "persistent"}
    assert not stacks(labs.b.home / "state")
    assert stacks(labs.a.home / "state") == {"lab", "persistent"}
    told = replace(labs.a, environment={**labs.a.environment, "LAB_BACKEND_URL": "file:///elsewhere"})
    refused = told.run("up")
    assert refused.returncode == 2, refused.stdout
    assert "lies elsewhere than LAB_BACKEND_URL says" in refused.stderr


def test_no_process_of_one_has_to_do_with_the_home_of_the_other(labs: Labs) -> None:
    for one, other in (labs, labs[::-1]):
        strange = f"{other.home}/"
        for name, pid in pids(one).items():
            process = psutil.Process(pid)
            family = [process, *process.children(recursive=True)]
            known = [text for member in family for text in (*member.cmdline(), *member.environ().values())]
            known += [file.path for member in family for file in member.open_files()]
            assert any(str(one.home) in text for text in known), f"{name} is of no lab"
            assert not [text for text in known if strange in text], name


def test_both_hold_the_same_tables_and_no_common_secret(labs: Labs, keys: tuple[Keys, Keys]) -> None:
    rows: list[dict[str, int]] = []
    for one in labs:
        found = one.fingerprint()["tables"]
        rows.append({name: table["rows"] for name, table in found.items()})
    assert rows[0] == rows[1]
    assert rows[0]["retail.customer"] == 1500
    secrets = [
        {value for key, value in known["keys"].items() if "access key" not in key}
        | {person["password"] for person in known["personas"]}
        for known in keys
    ]
    assert len(secrets[0]) > 15
    assert not secrets[0] & secrets[1]


@pytest.mark.parametrize("audience", sorted(DOORS))
def test_the_token_of_one_is_refused_by_the_other(
    keys: tuple[Keys, Keys], http: httpx.Client, audience: str
) -> None:
    tokens = [str(ask_token(http, one, one, audience).json()["access_token"]) for one in keys]

    def knock(at: Keys, token: str) -> int:
        url = DOORS[audience](at["urls"])
        return http.get(url, headers={"Authorization": f"Bearer {token}"}).status_code

    assert [knock(one, token) for one, token in zip(keys, tokens, strict=True)] == [200, 200]
    assert [knock(one, token) for one, token in zip(keys, tokens[::-1], strict=True)] == [401, 401]


def test_the_people_of_one_are_strangers_to_the_other(keys: tuple[Keys, Keys], http: httpx.Client) -> None:
    assert ask_token(http, keys[0], keys[1], "catalog").status_code == 401
    assert ask_token(http, keys[1], keys[0], "catalog").status_code == 401


def refused(lab: LiveLab, base: int) -> str:
    """What is said to a third lab that asks for the block from ``base``."""
    result = lab.run("--name", "c", "up", "--set", f"portBase={base}")
    assert result.returncode == 3, result.stdout + result.stderr
    assert not (lab.home.parent / "c").exists()
    return result.stderr


def test_one_goes_down_and_comes_back_and_the_other_stays_as_it_was(labs: Labs) -> None:
    before, of_b = (labs.a.fingerprint(), pids(labs.a)), (labs.b.fingerprint(), ports(labs.b))
    labs.b.ok("down")
    assert (labs.a.fingerprint(), pids(labs.a)) == before
    assert not [p for p in ports(labs.a) if p in of_b[1]]
    said = labs.a.run("--name", "b", "fingerprint").stderr
    assert "lab 'b' is not up" in said
    assert "lab --name b up" in said

    base = min(of_b[1])
    said = refused(labs.a, base)  # a block in the middle may reach into that of the other, too
    assert f"that of lab 'b', {base} to {base + PORTS_PER_LAB - 1}" in said
    assert "lab --name c up --set portBase=" in said

    labs.b.ok("up")
    assert (labs.b.fingerprint(), ports(labs.b)) == of_b
    assert (labs.a.fingerprint(), pids(labs.a)) == before


def test_a_block_that_another_lab_runs_in_is_refused_by_name(labs: Labs) -> None:
    said = refused(labs.b, first_port(labs.a))
    assert "that of lab 'a'" in said


def test_a_lab_moves_to_another_block_of_ports(labs: Labs) -> None:
    before: dict[str, Any] = labs.b.fingerprint()
    other = choose_block(labs.b.home.parent)
    labs.b.ok("up", "--set", f"portBase={other}")
    assert first_port(labs.b) == other
    assert labs.b.fingerprint()["tables"] == before["tables"]


def store_of(keys: Keys, user: str) -> Minio:
    """The object store as one of its users."""
    return Minio(
        keys["keys"]["s3 endpoint"].removeprefix("http://"),
        access_key=keys["keys"][f"s3 {user} access key"],
        secret_key=keys["keys"][f"s3 {user} secret key"],
        secure=False,
        region="us-east-1",
    )


def database_answers(keys: Keys) -> bool:
    """Whether the governance database lets its role in with the password of these keys."""
    name = next(key for key in keys["keys"] if key.startswith("postgresql") and "governance" in key)
    _, address, _, role = name.split(" ")
    try:
        psycopg.connect(f"postgresql://{role}:{keys['keys'][name]}@{address}", connect_timeout=10).close()
    except psycopg.OperationalError as error:
        if "password authentication failed" not in str(error):
            raise
        return False
    return True


def test_rotated_secrets_open_nothing_any_more_and_data_stays(labs: Labs, http: httpx.Client) -> None:
    """``keys`` are old afterwards."""
    labs.b._known.clear()  # its ports are others since it was asked
    old, tables, of_a = labs.b.keys(), labs.b.fingerprint()["tables"], pids(labs.a)
    bucket = "b-policy"
    assert database_answers(old)
    assert any(store_of(old, "governor").list_objects(bucket, recursive=True))
    labs.b.ok("rotate", "people", "keys")
    labs.b._known.clear()
    new = labs.b.keys()
    same = {name for name, value in old["keys"].items() if new["keys"][name] == value}
    assert same == {"s3 endpoint", *(name for name in same if name.endswith("access key"))}
    people = [{one["username"]: one["password"] for one in known["personas"]} for known in (old, new)]
    assert not set(people[0].values()) & set(people[1].values())

    assert ask_token(http, new, old, "governor").status_code == 401
    stale = {**old, "keys": new["keys"]}
    assert ask_token(http, new, stale, "governor").json().get("error") == "invalid_grant"
    for audience, url in DOORS.items():
        token = ask_token(http, new, new, audience).json()["access_token"]
        answer = http.get(url(new["urls"]), headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200, (audience, answer.text)
    assert not database_answers(old)
    assert database_answers(new)
    with pytest.raises(S3Error, match="signature"):
        list(store_of(old, "governor").list_objects(bucket))
    assert any(store_of(new, "governor").list_objects(bucket, recursive=True))
    assert labs.b.fingerprint()["tables"] == tables
    assert pids(labs.a) == of_a
    again = labs.b.json("up")["changes"]
    assert {name for name, count in again.items() if count} <= {"same", "read"}


def test_one_is_destroyed_and_the_other_stays_as_it_was(labs: Labs) -> None:
    before = (labs.a.fingerprint(), pids(labs.a))
    labs.b.ok("destroy", "--yes")
    assert (labs.a.fingerprint(), pids(labs.a)) == before
    assert not labs.b.home.exists()
    assert not stacks(backend_of_b(labs.b))
    assert labs.a.json("status")["labs"] == ["a"]
