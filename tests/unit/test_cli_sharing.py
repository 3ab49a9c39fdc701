"""A lab in a slot of another lab's persistent stack: what it makes and what it never touches, and what its
owner has to mind, with a fake engine and a kubectl that answers from a file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from cli import operations, steps
from cli.backend import backend_url
from cli.operations import diagnosis
from cli.operations.inspect import status
from cli.operations.lifecycle import UpResult
from cli.operations.removal import DestroyPlan
from cli.ports import blocks_in_use
from cli.project import ensure_project, open_lab, read_config, set_config
from contracts.errors import LabError, PreflightError, UsageError
from contracts.settings import Role
from contracts.versions import IMAGES
from tests.unit.cli_fakes import FakeRun, fake_run
from tests.unit.fake_kubectl import CLUSTER_ID, install

KMS = "awskms://alias/state?region=eu-central-1"
SALT = "encryptionsalt: v1:abc"


def settings_of_owner(name: str, secrets: str = SALT, **more: str) -> str:
    """The file of a persistent stack as its last run had it."""
    config = {
        "role": "persistent",
        "name": name,
        "placement": "kubernetes",
        "home": "/home/somebody/else",
        "portBase": "31000",
        "clusterId": CLUSTER_ID,
        "peopleRotation": "2",
        "moreLabs": "team-b,ci",
        "ingressDomain": "lab.example",
        "quotaMemoryMib": "32768",
        "objectStoreUrl": "https://s3.example",
        **more,
    }
    lines = [f'  lakehouse-lab:{key}: "{value}"' for key, value in config.items()]
    encrypted = [f"  lakehouse-lab:{key}:\n    secure: v1:abc" for key in ("databaseUrl", "objectStoreKeys")]
    return "\n".join(["config:", *lines, *encrypted, secrets]) + "\n"


@dataclass
class World:
    """Two sessions on one machine: lab ``main``, which owns what is kept, and lab ``team-b``."""

    owner: FakeRun
    guest: FakeRun
    images: Path

    def share(self, **changes: str) -> UpResult:
        """``lab --name team-b up --shares main``."""
        self.guest.session.environ = {**self.guest.session.environ, "LAB_SHARES": "main"}
        return operations.up(self.guest.session, changes={"imagesFile": str(self.images), **changes})


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """``main`` is made and up, on a cluster."""
    install(tmp_path / "bin")
    (tmp_path / "kubeconfig").write_text("apiVersion: v1\n")
    owner, guest = (fake_run(tmp_path / "labs", name) for name in ("main", "team-b"))
    for one in (owner, guest):
        one.session.environ = {
            **one.session.environ,
            "KUBECONFIG": str(tmp_path / "kubeconfig"),
            "PATH": str(tmp_path / "bin"),
        }
    monkeypatch.setattr("cli.operations.lifecycle.fetch", lambda *_: None)
    monkeypatch.setattr("placements.local.artifacts.reachable", lambda _: False)
    monkeypatch.setattr(steps, "choose_block", lambda *_: 28200)
    images = tmp_path / "images.json"
    images.write_text(json.dumps({name: f"r.example/{name}@sha256:{'0' * 64}" for name in IMAGES}))
    ensure_project(owner.lab, virtualenv=Path("/venv"), port_base=28000)
    owner.lab.stack_file(Role.PERSISTENT).write_text(settings_of_owner("main"))
    for role in Role:
        for key, value in {"home": str(owner.lab.home), "portBase": "28000"}.items():
            set_config(owner.lab, role, key, value)
    for key, value in {"placement": "kubernetes", "imagesFile": str(images), "peopleRotation": "2"}.items():
        set_config(owner.lab, Role.LAB, key, value)
    steps.run_persistent(owner.session)
    owner.calls.clear()
    owner.engine.stacks |= {Role.PERSISTENT, Role.LAB}
    guest.engine.stacks = {Role.PERSISTENT}
    guest.engine.settings_there = {Role.PERSISTENT: settings_of_owner("main")}
    for one in (owner, guest):
        one.engine.slots = ("main", "team-b", "ci")
    return World(owner, guest, images)


def runs(run: FakeRun) -> list[str]:
    """What the engine was asked to do."""
    return [
        call for call in run.calls if call.split()[0] in ("up", "preview", "refresh", "destroy", "remove")
    ]


def test_a_lab_comes_up_in_its_slot_and_runs_its_own_stack_alone(world: World) -> None:
    world.share()
    lab = world.guest.lab
    assert runs(world.guest) == ["up lab"]
    assert world.guest.calls[0] == "take settings of persistent"
    assert (lab.owner, lab.stack_name(Role.LAB), lab.own_roles) == ("main", "lab-team-b", (Role.LAB,))
    files = {file.name for file in lab.project_dir.glob("Pulumi*.yaml")}
    assert files == {"Pulumi.yaml", "Pulumi.persistent.yaml", "Pulumi.lab-team-b.yaml"}
    project = yaml.safe_load((lab.project_dir / "Pulumi.yaml").read_text())
    assert project["backend"]["url"] == f"file://{world.owner.lab.state_dir}" == backend_url(world.owner.lab)
    assert not (world.guest.said and any("new secret" in line for line in world.guest.said))


def test_it_follows_its_owner_where_both_stacks_have_to_say_the_same(world: World) -> None:
    world.share()
    own = read_config(world.guest.lab, Role.LAB)
    assert (own["name"], own["home"]) == ("team-b", str(world.guest.lab.home))
    assert (own["portBase"], own["placement"], own["clusterId"]) == ("28200", "kubernetes", CLUSTER_ID)
    assert (own["peopleRotation"], own["quotaMemoryMib"]) == ("2", "32768")
    assert own["ingressDomain"] == "team-b.lab.example"
    changed = settings_of_owner("main", peopleRotation="3").replace("ingressDomain", "warehouseBucket")
    world.guest.engine.settings_there = {Role.PERSISTENT: changed}
    operations.up(world.guest.session)
    own = read_config(world.guest.lab, Role.LAB)
    assert (own["peopleRotation"], own["ingressDomain"]) == ("3", "")
    assert own["imagesFile"] == str(world.images), "what is its own stays"


def test_its_passphrase_is_the_owners_file(world: World) -> None:
    world.share()
    link = world.guest.lab.passphrase_file
    assert link.is_symlink()
    assert link.resolve() == world.owner.lab.passphrase_file.resolve()
    assert not link.readlink().is_absolute(), "both folders may be moved together"
    operations.destroy(world.guest.session, lambda _: None)
    assert world.owner.lab.passphrase_file.exists()


def test_its_own_block_of_ports_is_the_only_one_that_it_holds(world: World) -> None:
    world.share()
    assert blocks_in_use(world.guest.lab.home.parent) == {28000: "main", 28200: "team-b"}


def test_by_the_place_of_its_state_it_is_found_from_another_machine(world: World, tmp_path: Path) -> None:
    run = fake_run(tmp_path / "elsewhere", "team-b")
    environ = {"LAB_SHARES": "main", "LAB_BACKEND_URL": "s3://bucket/main?region=x"}
    run.session.environ = {**world.guest.session.environ, "LAB_HOME": str(tmp_path / "elsewhere"), **environ}
    run.engine.stacks, run.engine.slots = {Role.PERSISTENT}, ("main", "team-b")
    run.engine.settings_there = {Role.PERSISTENT: settings_of_owner("main")}
    with pytest.raises(UsageError, match="opens with the passphrase of the machine that made it"):
        operations.up(run.session)
    assert not run.lab.home.exists()
    run.engine.settings_there = {Role.PERSISTENT: settings_of_owner("main", f"secretsprovider: {KMS}")}
    operations.up(run.session, changes={"imagesFile": str(world.images)})
    assert f"secretsprovider: {KMS}" in run.lab.stack_file(Role.LAB).read_text()
    assert not run.lab.passphrase_file.is_symlink()
    # Later it needs to be told nothing.
    run.session.environ = {k: v for k, v in run.session.environ.items() if k not in environ}
    operations.up(run.session)
    assert runs(run) == ["up lab", "up lab"]


def test_what_it_had_before_is_taken_over(world: World) -> None:
    world.guest.engine.stacks.add(Role.LAB)
    there = 'config:\n  lakehouse-lab:role: "lab"\n  lakehouse-lab:name: "team-b"\n'
    there += '  lakehouse-lab:trinoHeapMib: "2048"\n  lakehouse-lab:home: "/elsewhere"\n'
    world.guest.engine.settings_there[Role.LAB] = there
    world.share()
    own = read_config(world.guest.lab, Role.LAB)
    assert (own["trinoHeapMib"], own["home"]) == ("2048", str(world.guest.lab.home))


def test_a_pipeline_can_ask_for_a_slot_that_nobody_uses(world: World) -> None:
    world.guest.engine.stacks.add(Role.LAB)
    world.guest.session.environ = {**world.guest.session.environ, "LAB_SHARES": "main"}
    with pytest.raises(UsageError, match="lab 'team-b' is there already"):
        operations.up(world.guest.session, fresh=True)
    assert runs(world.guest) == []
    assert not world.guest.lab.home.exists()
    world.guest.engine.stacks.discard(Role.LAB)
    operations.up(world.guest.session, fresh=True, changes={"imagesFile": str(world.images)})
    with pytest.raises(UsageError, match="is there already"):
        operations.up(world.guest.session, fresh=True)


def unknown(world: World) -> None:
    world.guest.session.environ = {**world.guest.session.environ, "LAB_SHARES": "nobody"}


def without_a_slot(world: World) -> None:
    world.guest.engine.slots = ("main", "ci")


def not_made(world: World) -> None:
    world.guest.engine.stacks = set()


def on_this_machine(world: World) -> None:
    set_config(world.owner.lab, Role.PERSISTENT, "placement", "local")


def of_a_lab_that_shares(world: World) -> None:
    world.owner.lab.owner_file.write_text("first\n")


def of_another_lab(world: World) -> None:
    world.guest.engine.settings_there = {Role.PERSISTENT: settings_of_owner("other")}


@pytest.mark.parametrize(
    ("given", "said", "then"),
    [
        (
            without_a_slot,
            "has no slot for lab 'team-b'",
            "lab --name main bootstrap --set moreLabs=ci,team-b",
        ),
        (
            not_made,
            "what lab 'main' keeps is not made yet",
            "lab --name main bootstrap --set moreLabs=team-b",
        ),
        (on_this_machine, "on placement local nothing is shared", "lab --name team-b up"),
        (of_a_lab_that_shares, "it shares that of lab 'first'", "lab --name team-b up --shares first"),
        (of_another_lab, "the state of lab 'other' lies there", "lab --name team-b up --shares other"),
    ],
)
def test_who_can_not_share_is_told_why_and_leaves_nothing(
    world: World, given: Callable[[World], None], said: str, then: str
) -> None:
    given(world)
    with pytest.raises(LabError, match=said) as refused:
        world.share()
    assert refused.value.next_command == then
    assert runs(world.guest) == []
    assert not world.guest.lab.home.exists()


def test_a_lab_that_nobody_knows_is_asked_for_where_its_state_lies(world: World) -> None:
    unknown(world)
    with pytest.raises(UsageError, match="'nobody' is not known on this machine") as refused:
        operations.up(world.guest.session)
    assert refused.value.permitted == "main"
    assert "--state URL" in str(refused.value.next_command)
    assert not world.guest.lab.home.exists()


def test_a_lab_with_a_stack_of_its_own_does_not_move(world: World) -> None:
    world.owner.session.environ = {**world.owner.session.environ, "LAB_SHARES": "main"}
    with pytest.raises(UsageError, match="can't share its own"):
        operations.up(world.owner.session)
    world.owner.session.environ = {**world.owner.session.environ, "LAB_SHARES": "other"}
    with pytest.raises(UsageError, match="has a persistent stack of its own"):
        operations.up(world.owner.session)
    world.share()
    world.guest.session.environ = {**world.guest.session.environ, "LAB_SHARES": "other"}
    with pytest.raises(UsageError, match="shares that of lab 'main'"):
        operations.up(world.guest.session)


@pytest.mark.parametrize(
    "changes",
    [
        {"warehousePrefix": "other"},
        {"moreLabs": "x"},
        {"peopleRotation": "9"},
        {"placement": "aws"},
        {"quotaMemoryMib": "65536"},
    ],
)
def test_the_owners_settings_are_the_owners(world: World, changes: dict[str, str]) -> None:
    (key,) = changes
    for _ in range(2):
        with pytest.raises(UsageError, match=f"setting '{key}' of lab 'team-b' is that of the") as refused:
            world.share(**changes)
        assert refused.value.next_command == f"lab --name main bootstrap --set {key}={changes[key]}"
    assert not world.guest.lab.home.exists()
    world.share(placement="kubernetes", trinoHeapMib="2048")
    with pytest.raises(UsageError):
        operations.up(world.guest.session, changes=changes)
    assert runs(world.guest) == ["up lab"]


@pytest.mark.parametrize("placement", ["kubernetes", "aws"])
def test_its_namespace_has_its_name(world: World, placement: str) -> None:
    world.guest.engine.settings_there = {Role.PERSISTENT: settings_of_owner("main", placement=placement)}
    with pytest.raises(UsageError, match="the namespace of lab 'team-b' has its name") as refused:
        world.share(namespace="mine")
    assert refused.value.permitted == "lakehouse-team-b"
    assert not world.guest.lab.home.exists()


def test_what_is_kept_is_its_owners_to_make_and_to_rotate(world: World) -> None:
    world.share()
    world.guest.calls.clear()
    for what, call in (
        ("bootstrap", lambda s: operations.bootstrap(s)),
        ("rotate people", lambda s: operations.rotate(s, ["people"])),
    ):
        with pytest.raises(
            UsageError, match="persistent stack of lab 'main', which it only reads"
        ) as refused:
            call(world.guest.session)
        assert refused.value.next_command == f"lab --name main {what}, then lab --name team-b up"
    assert world.guest.calls == []
    with pytest.raises(LabError, match="is another lab's"):
        set_config(world.guest.lab, Role.PERSISTENT, "warehousePrefix", "x")


def test_preview_refresh_down_and_destroy_are_of_its_own_stack(world: World) -> None:
    world.share()
    world.guest.engine.stacks.add(Role.LAB)
    world.guest.calls.clear()
    found = operations.preview(world.guest.session)
    assert found.persistent is None
    assert found.lab == {"create": 3}
    assert operations.refresh(world.guest.session).keys() == {"lab"}
    operations.down(world.guest.session)
    plans: list[DestroyPlan] = []
    operations.destroy(world.guest.session, plans.append)
    assert runs(world.guest) == ["preview lab", "refresh lab", "destroy lab", "destroy lab", "remove lab"]
    assert plans[0].then == ("lab --name main bootstrap --set moreLabs=ci",)
    assert "slot in the persistent stack of lab 'main'" in plans[0].keeps[0]
    assert not world.guest.lab.home.exists()
    assert world.owner.lab.exists


def test_it_reads_its_own_slot(world: World) -> None:
    world.share()
    assert world.guest.session.slot()
    world.guest.session._slot = None
    world.guest.engine.slots = ("main",)
    with pytest.raises(LabError, match="persistent stack of lab 'main' has no slot for lab 'team-b'"):
        world.guest.session.slot()
    assert status(world.guest.session).shares == "main"
    assert status(world.owner.session).shares is None


def test_doctor_finds_nothing_wrong_with_a_lab_that_shares(world: World) -> None:
    world.share()
    operations.down(world.guest.session)
    locks = world.owner.lab.state_dir / ".pulumi" / "locks" / "organization" / "lakehouse-lab" / "lab"
    locks.mkdir(parents=True)
    (locks / "1.json").write_text(json.dumps({"pid": os.getpid(), "hostname": os.uname().nodename}))
    findings = diagnosis.doctor(world.guest.session).findings
    assert not [f for f in findings if f.subject == "lock"], "the owner's own"
    assert any("persistent stack of lab 'main'" in f.detail for f in findings if f.subject == "settings")


def test_an_owner_is_not_destroyed_while_a_lab_is_in_its_slot(world: World) -> None:
    world.owner.engine.others = ["lab-team-b", "lab-ci", "something-else"]
    with pytest.raises(UsageError, match="would lose all that they keep") as refused:
        operations.destroy(world.owner.session, lambda _: pytest.fail("nobody is to be asked"))
    assert refused.value.value == "ci, team-b"
    assert "lab --name team-b destroy" in str(refused.value.next_command)
    assert runs(world.owner) == []
    world.owner.engine.others = ["something-else"]

    def somebody_comes(_: DestroyPlan) -> None:
        world.owner.engine.others = ["lab-team-b"]

    with pytest.raises(UsageError, match="would lose all"):
        operations.destroy(world.owner.session, somebody_comes)
    assert runs(world.owner) == []
    world.owner.engine.others = []
    operations.destroy(world.owner.session, lambda _: None)
    assert runs(world.owner) == [
        *("destroy lab", "remove lab"),
        *("destroy persistent", "remove persistent"),
    ]


@pytest.mark.parametrize("command", [operations.bootstrap, operations.up])
def test_a_slot_is_not_taken_away_from_a_lab_whose_stack_is_there(
    world: World, command: Callable[..., object]
) -> None:
    world.owner.engine.others = ["lab-team-b"]
    with pytest.raises(UsageError, match="the stack of lab 'team-b' is still there") as refused:
        command(world.owner.session, changes={"moreLabs": "ci"})
    assert refused.value.next_command == "lab --name team-b destroy, then the same command again"
    assert read_config(world.owner.lab, Role.PERSISTENT)["moreLabs"] == "team-b,ci"
    assert runs(world.owner) == []
    # By hand in the file, too.
    set_config(world.owner.lab, Role.PERSISTENT, "moreLabs", "ci")
    with pytest.raises(UsageError, match="is still there"):
        command(world.owner.session)
    world.owner.engine.others = []
    command(world.owner.session)
    assert "up persistent" in runs(world.owner)


def test_the_owner_goes_down_and_comes_up_beside_the_others(world: World) -> None:
    world.owner.engine.others = ["lab-team-b"]
    operations.down(world.owner.session)
    operations.up(world.owner.session)
    assert [call for call in runs(world.owner) if "team-b" in call] == []
    assert runs(world.owner)[0] == "destroy lab"


def test_who_needs_new_secrets_is_named(world: World) -> None:
    world.owner.engine.others = ["lab-team-b"]
    operations.rotate(world.owner.session, ["keys"])
    assert any("lab --name team-b up" in line for line in world.owner.said)


def test_on_one_machine_further_labs_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "labs")
    for command in (operations.up, operations.bootstrap):
        with pytest.raises(UsageError, match="on placement local nothing is shared") as refused:
            command(run.session, changes={"moreLabs": "team-b"})
        assert refused.value.next_command == "lab --name team-b up"
    assert run.calls == []
    assert not run.lab.home.exists()


def test_a_name_is_a_labs_name_and_stands_once() -> None:
    from contracts.setting_values import lab_names

    assert lab_names(" team-b, ci ") == ("team-b", "ci")
    for wrong in ("master", "a,a", "Team", "x" * 21, "9a"):
        with pytest.raises(ValueError, match="names of labs"):
            lab_names(wrong)


def test_missing_rights_are_those_of_the_lab_stack_alone(world: World, tmp_path: Path) -> None:
    install(tmp_path / "bin", rules=[], allowed=["get pods"])
    with pytest.raises(PreflightError, match="rights are missing") as refused:
        world.share()
    assert "resourcequotas" not in str(refused.value)
    assert "deployments.apps" in str(refused.value)
    assert refused.value.value == "namespace lakehouse-team-b"


def test_its_folder_is_that_of_a_lab(world: World) -> None:
    world.share()
    again = open_lab("team-b", world.guest.session.environ)
    assert again.owner == "main"
    assert again.stack_file(Role.LAB).is_file()
