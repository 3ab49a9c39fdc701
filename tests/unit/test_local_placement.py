"""The local placement's pure parts: ports, layouts, plans, folders of unprivileged services, preflight."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from contracts.errors import LabError, PreflightError, UsageError
from contracts.workload import Capability, Layout, Port, Probe, Scheme, Volume, Workload
from placements.local import preflight
from placements.local.foundation import postgres, store
from placements.local.placement import LocalPlacement
from placements.local.plan import Resolved, source_digest, with_plan_hash, workload_to_spec
from placements.local.supervisor import ProbeSpec, ServiceSpec, Step
from placements.local.supervisor.paths import make_passable
from placements.local.supervisor.prepare import copy_for_everybody, first_unreachable
from placements.local.unprivileged import reachable_artifact, unprivileged_root

LAYOUT = Layout(
    artifact_dir=PurePosixPath("/cache/opa/1"),
    files_dir=PurePosixPath("/home/run/services/opa/files"),
    data_dir=PurePosixPath("/home/data/opa"),
    scratch_dir=PurePosixPath("/home/run/scratch/opa"),
    python="/venv/bin/python",
    source_dir=PurePosixPath("/source"),
    cache_dir=PurePosixPath("/cache/warm/x"),
    java_home=None,
    bind_address="127.0.0.1",
    ports={"http": 28000},
)
OPA = Workload(
    name="opa",
    artifact="opa",
    command=["opa", "run"],
    ports=(Port(name="http", number=28000),),
    readiness=Probe(port="http", path="/health"),
    env={"OPA_TOKEN": "t"},
)
RESOLVED = Resolved(command=["opa", "run"], env={"OPA_TOKEN": "0123456789"}, files={"a.yaml": "x"})


def placement(tmp_path: Path, *services: str) -> LocalPlacement:
    return LocalPlacement(tmp_path / "home", 28000, tmp_path / "cache", services or ("keycloak", "opa"))


def test_ports_follow_the_order_and_a_new_service_at_the_end_moves_none(tmp_path: Path) -> None:
    before = placement(tmp_path, "keycloak", "catalog")
    after = placement(tmp_path, "keycloak", "catalog", "spark")

    assert before.internal_url("postgres", "tcp", Scheme.TCP) == "tcp://127.0.0.1:28000"
    assert before.internal_url("s3", "http") == "http://127.0.0.1:28004"
    assert before.layout("keycloak", "keycloak", ("http", "management")).ports == {
        "http": 28008,
        "management": 28009,
    }
    assert after.layout("catalog", "nessie", ("http",)).ports == {"http": 28012}
    assert after.layout("spark", "python", ("http",)).ports == {"http": 28016}


def test_a_workload_may_need_more_than_one_artifact(tmp_path: Path) -> None:
    lab = placement(tmp_path, "spark")
    layout = lab.layout("spark", "python", ("http",), also=("spark", "iceberg-aws-bundle"))
    assert [name for name, path in layout.also.items() if path.parent.name == name] == [
        "spark",
        "iceberg-aws-bundle",
    ]
    assert layout.java_home is not None
    assert "java21" in layout.java_home.parts
    assert lab.layout("spark", "python", ("http",)).java_home is None


def test_logs_of_all_workloads_lie_together(tmp_path: Path) -> None:
    lab = placement(tmp_path)
    folder = PurePosixPath(tmp_path / "home" / "logs")
    assert {lab.layout(name, name, ("http",)).logs_dir for name in ("keycloak", "opa")} == {folder}


def test_a_url_known_before_the_layout_stays_what_it_was(tmp_path: Path) -> None:
    lab = placement(tmp_path)
    url = lab.internal_url("keycloak", "http")

    lab.layout("keycloak", "keycloak", ("http", "management"))

    assert lab.internal_url("keycloak", "http") == url
    assert lab.operator_url("keycloak", "management") == "http://127.0.0.1:28009"
    with pytest.raises(LabError, match="no port named 'grpc'"):
        lab.internal_url("keycloak", "grpc")


def test_a_promise_of_a_port_that_is_not_the_first_is_refused(tmp_path: Path) -> None:
    lab = placement(tmp_path)
    lab.internal_url("keycloak", "http")

    with pytest.raises(LabError, match="second port"):
        lab.internal_url("keycloak", "management")
    with pytest.raises(LabError, match="first one"):
        lab.layout("keycloak", "keycloak", ("management", "http"))


def test_a_lab_has_room_for_fifty_services_of_four_ports(tmp_path: Path) -> None:
    services = tuple(f"w{number}" for number in range(60))
    lab = placement(tmp_path, *services)

    with pytest.raises(LabError, match="4 ports"):
        lab.layout("w1", "python", ("a", "b", "c", "d", "e"))
    assert lab.layout("w47", "python", ("a", "b", "c", "d")).ports["d"] == 28199
    with pytest.raises(LabError, match="end of the lab's block"):
        lab.layout("w48", "python", ("a",))
    with pytest.raises(UsageError, match="did you mean 'w1'"):
        lab.layout("w1x", "python", ("a",))


def test_layout_is_deterministic_and_makes_nothing(tmp_path: Path) -> None:
    first = placement(tmp_path).layout("keycloak", "keycloak", ("http",))
    second = placement(tmp_path).layout("keycloak", "keycloak", ("http",))

    assert first == second
    assert str(first.data_dir) == str(tmp_path / "home" / "data" / "keycloak")
    assert first.java_home is not None
    assert str(first.java_home).startswith(str(tmp_path / "cache" / "java25"))
    assert list(tmp_path.iterdir()) == []


def test_deploy_refuses_before_it_registers(tmp_path: Path) -> None:
    lab = placement(tmp_path)
    lab.layout("opa", "opa", ("http",))

    with pytest.raises(LabError, match="does not offer") as error:
        lab.deploy(dataclasses.replace(OPA, needs=frozenset({Capability.POD_PER_USER})))
    assert error.value.value == "pod-per-user"
    with pytest.raises(LabError, match="several replicas"):
        lab.deploy(dataclasses.replace(OPA, replicas=2))


@pytest.mark.parametrize("source", [(), ("components/nothing",)])
def test_code_of_the_checkout_that_nobody_watches_is_refused(tmp_path: Path, source: tuple[str, ...]) -> None:
    lab = placement(tmp_path)
    layout = lab.layout("opa", "python", ("http",))
    command = [layout.python, str(layout.source_dir / "components" / "opa" / "server.py")]
    own = dataclasses.replace(OPA, artifact="python", command=command, source=source)

    with pytest.raises(LabError, match="does not say which") as error:
        lab.deploy(own)
    assert "source=('components/opa',)" in str(error.value)


def test_a_workload_becomes_a_service() -> None:
    workload = dataclasses.replace(
        OPA,
        ports=(Port(name="http", number=28000, scheme=Scheme.HTTPS),),
        files={"ca.pem": "pem"},
        depends_on=("s3",),
        memory_mib=64,
    )

    spec = workload_to_spec(workload, LAYOUT, RESOLVED)

    assert spec.probe == ProbeSpec(
        port=28000, tls=True, path="/health", ca_file="/home/run/services/opa/files/ca.pem"
    )
    assert (spec.argv, spec.depends_on, spec.memory_mib) == (("opa", "run"), ("s3",), 64)
    assert spec.discard == ("/home/data/opa",)
    assert ServiceSpec.from_json(spec.to_json()) == spec


def test_what_is_retained_is_not_discarded() -> None:
    volumes = (Volume(name="kept", retained=True), Volume(name="cache"))

    spec = workload_to_spec(dataclasses.replace(OPA, volumes=volumes), LAYOUT, RESOLVED)

    assert spec.discard == ("/home/data/opa/cache",)


@pytest.mark.parametrize(
    "change",
    [{"command": ["opa", "eval"]}, {"env": {"OPA_TOKEN": "9876543210"}}, {"files": {"a.yaml": "y"}}],
)
def test_every_change_of_a_value_changes_the_plan(change: dict[str, Any]) -> None:
    plain = workload_to_spec(OPA, LAYOUT, RESOLVED)

    assert workload_to_spec(OPA, LAYOUT, RESOLVED).plan_hash == plain.plan_hash
    changed = workload_to_spec(OPA, LAYOUT, dataclasses.replace(RESOLVED, **change))
    assert changed.plan_hash != plain.plan_hash
    assert workload_to_spec(OPA, LAYOUT, RESOLVED, source_digest="x").plan_hash != plain.plan_hash


def test_a_secret_in_the_command_line_is_refused_and_not_repeated() -> None:
    leaking = dataclasses.replace(RESOLVED, command=["opa", "--token=0123456789"])

    with pytest.raises(LabError, match="holds the secret of OPA_TOKEN") as error:
        workload_to_spec(OPA, LAYOUT, leaking)

    assert "0123456789" not in str(error.value)


def test_a_probe_of_an_unknown_port_is_refused() -> None:
    with pytest.raises(LabError, match="names a port it does not have"):
        workload_to_spec(dataclasses.replace(OPA, readiness=Probe(port="grpc")), LAYOUT, RESOLVED)


def test_the_source_digest_follows_content(tmp_path: Path) -> None:
    (tmp_path / "room" / "__pycache__").mkdir(parents=True)
    (tmp_path / "room" / "a.py").write_text("1")
    first = source_digest(tmp_path, ["room"])
    (tmp_path / "room" / "__pycache__" / "a.pyc").write_text("compiled")

    assert source_digest(tmp_path, ["room"]) == first
    (tmp_path / "room" / "a.py").write_text("2")
    assert source_digest(tmp_path, ["room"]) != first


def test_the_database_server_is_durable_and_loopback_only() -> None:
    text = postgres.configuration(port=28000)

    for line in (
        "listen_addresses = '127.0.0.1'",
        "fsync = on",
        "shared_buffers = 64MB",
        "max_connections = 100",
    ):
        assert line in text.splitlines()
    assert postgres.host_based_access() == "host all all 127.0.0.1/32 scram-sha-256\n"
    assert postgres.superuser_statement("it's") == "ALTER ROLE postgres PASSWORD 'it''s';\n"


def test_foundation_services_keep_secrets_out_of_their_commands(tmp_path: Path) -> None:
    lab = placement(tmp_path)
    database = postgres.service(
        lab.layout("postgres", "postgresql", ("tcp",), unprivileged=True),
        home=lab.home,
        superuser_password="super-secret-1",
    )
    objects = store.service(lab.layout("s3", "minio", ("http",)), root_password="super-secret-2")

    for spec in (database, objects):
        arguments = [*spec.argv, *(argument for step in spec.steps for argument in step.argv)]
        assert not [argument for argument in arguments if "super-secret" in argument]
        assert spec.discard == ()
    assert objects.env["MINIO_BROWSER"] == "off"
    assert f"127.0.0.1:{objects.ports['http']}" in objects.argv
    assert "--data-checksums" in database.steps[0].argv


def test_a_steps_specification_survives_the_wire() -> None:
    spec = with_plan_hash(
        ServiceSpec(
            name="postgres",
            argv=("postgres",),
            plan_hash="",
            files_dir="/f",
            scratch_dir="/s",
            steps=(Step(name="initdb", argv=("initdb", "{new}"), creates="/d"),),
        )
    )
    assert ServiceSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize("name", ["/etc/passwd", "../spec.json", "a/../../b", ""])
def test_a_file_outside_its_folder_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="outside its own folder"):
        ServiceSpec(name="one", argv=("x",), plan_hash="", files_dir="/f", scratch_dir="/s", files={name: ""})


def test_store_policies_give_no_more_than_each_user_needs() -> None:
    catalog = store.catalog_policy(bucket="lab-warehouse", prefix="warehouse")
    objects = [s for s in catalog["Statement"] if "s3:PutObject" in s["Action"]]

    assert [s["Resource"] for s in objects] == [["arn:aws:s3:::lab-warehouse/warehouse/*"]]
    governor = store.governor_policy(bucket="b")["Statement"]
    assert [(s["Action"], s["Resource"]) for s in governor] == [
        (["s3:PutObject", "s3:AbortMultipartUpload"], ["arn:aws:s3:::b/*"]),
        (["s3:ListBucket"], ["arn:aws:s3:::b"]),
    ]
    assert store.opa_policy(bucket="b")["Statement"][0]["Action"] == ["s3:GetObject"]


def test_an_unprivileged_service_leaves_a_home_that_it_could_not_reach(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    system = tmp_path / "system"

    assert first_unreachable(private / "home", -1) is not None
    root = unprivileged_root(private / "home", system)
    assert root.parent == system
    assert root != unprivileged_root(private / "other", system)
    program = reachable_artifact(private / "cache" / "postgresql" / "18-abc", private / "home", system)
    assert program == root / "programs" / "postgresql-18-abc"


def test_the_place_of_unprivileged_services_stays_when_folders_above_change(tmp_path: Path) -> None:
    """Their data would seem lost otherwise."""
    inside, system = tmp_path / "home" / "unprivileged", tmp_path / "system"
    tmp_path.chmod(0o700)
    outside = unprivileged_root(tmp_path / "home", system)
    assert outside.parent == system

    outside.mkdir(parents=True)
    assert unprivileged_root(tmp_path / "home", system) == outside
    inside.mkdir(parents=True)
    assert unprivileged_root(tmp_path / "home", system) == inside


def test_an_open_home_holds_its_unprivileged_services_itself() -> None:
    for folder in (Path("/usr"), Path("/")):
        assert first_unreachable(folder / "any", -1) is None
    assert unprivileged_root(Path("/usr/lab")) == Path("/usr/lab/unprivileged")
    assert reachable_artifact(Path("/usr/lib"), Path("/usr/lab")) == Path("/usr/lib")


def test_a_copy_for_everybody_is_readable_runnable_and_made_once(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "bin").mkdir(parents=True, mode=0o700)
    (source / "bin" / "run").write_text("x")
    (source / "bin" / "run").chmod(0o700)
    (source / "data").write_text("y")
    (source / "data").chmod(0o600)
    (source / "link").symlink_to("data")
    target = tmp_path / "root" / "programs" / "copy"

    copy_for_everybody(source, target)
    (source / "data").write_text("changed")
    copy_for_everybody(source, target)

    assert (target / "bin" / "run").stat().st_mode & 0o777 == 0o755
    assert (target / "data").stat().st_mode & 0o777 == 0o644
    assert (target / "data").read_text() == "y"
    assert (target / "link").readlink() == Path("data")
    assert (source / "data").stat().st_mode & 0o777 == 0o600


def test_taken_ports_are_named_with_their_owner_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]

        with pytest.raises(PreflightError, match=rf"{port} \(keycloak http\) by process {os.getpid()}"):
            preflight.check_ports(tmp_path, {"keycloak http": port})

    preflight.check_ports(tmp_path, {"keycloak http": port})


def test_a_port_of_another_lab_is_named_with_its_service(tmp_path: Path) -> None:
    listening = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1])"
    with subprocess.Popen(
        [sys.executable, "-u", "-c", f"{listening}; time.sleep(60)"],
        env={"LAB_SERVICE": "/labs/other lab:trino"},
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        try:
            assert other.stdout is not None
            port = int(other.stdout.readline())
            with pytest.raises(PreflightError, match=rf"{other.pid} \(service trino of the lab in /labs/oth"):
                preflight.check_ports(tmp_path, {"trino http": port})
        finally:
            other.kill()


def test_too_little_memory_or_disk_is_refused_with_figures(tmp_path: Path) -> None:
    preflight.check_memory(1)
    preflight.check_memory(900_000_000, running_mib=900_000_000)
    with pytest.raises(PreflightError, match="need about 900000000 MiB"):
        preflight.check_memory(900_000_000)
    preflight.check_disk({tmp_path: 1})
    with pytest.raises(PreflightError, match="900000001 MiB of disk"):
        preflight.check_disk({tmp_path / "not yet": 900_000_000, tmp_path: 1})


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root; this is an ordinary user")
def test_as_root_new_folders_can_be_passed_through_whatever_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0o077)
    try:
        make_passable(tmp_path / "labs" / "lab")
    finally:
        os.umask(previous)

    assert (tmp_path / "labs").stat().st_mode & 0o777 == 0o711
    assert (tmp_path / "labs" / "lab").stat().st_mode & 0o777 == 0o711
