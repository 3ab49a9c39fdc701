"""Two labs in one backend by the real engine, as the lab command runs it: one owns the persistent stack, the
other has a slot there. Their programs are small ones."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli import operations
from cli.project import Lab, ensure_project, read_config, set_config
from cli.session import Session
from cli.sharing import guests_of, take_part
from contracts.errors import LabError, UsageError
from contracts.settings import Role, cache_home
from tests.engine.aws_account import CHECKOUT

pytestmark = pytest.mark.engine

PROGRAM = f"""\
import sys

sys.path.insert(0, {str(CHECKOUT)!r})

from dataclasses import replace

import pulumi

from contracts.outputs import to_exports
from contracts.settings import Role, program_settings
from tests.unit.slots import make_slot

settings = program_settings()
if settings.role is Role.PERSISTENT:
    slot = make_slot()

    def slot_of(lab):
        database = replace(slot.catalog_database, name=f"{{lab}}_catalog", password=f"password-of-{{lab}}")
        return pulumi.Output.secret(to_exports(replace(slot, catalog_database=database)))

    labs = (settings.name, *settings.values["moreLabs"])
    pulumi.export("slots", {{lab: slot_of(lab) for lab in labs}})
    pulumi.export("lab", settings.name)
    pulumi.export("placement", settings.placement)
    pulumi.export("catalog_kind", settings.catalog)
else:
    kept = pulumi.StackReference(settings.persistent_stack)
    pulumi.export("database", kept.get_output("slots").apply(lambda s: s[settings.name]["catalog_database"]))
"""
"""What of both stacks matters here: slots that are secret, and a lab stack that reads its own."""


@dataclass(frozen=True)
class Labs:
    """Labs of one machine, below ``folder``."""

    folder: Path

    def session(self, name: str, **environ: str) -> Session:
        """A session on a lab, as a command of its own has it."""
        home = self.folder / "labs" / name
        base = {k: v for k, v in os.environ.items() if not k.startswith("LAB_")}
        own = {**base, "LAB_HOME": str(home.parent), **environ}
        lab = Lab(name=name, home=home, root=self.folder / "checkout", cache=cache_home())
        return Session(lab, environ=own)

    @property
    def stacks(self) -> set[str]:
        """What lies in the owner's folder."""
        folder = self.folder / "labs" / "main" / "state" / ".pulumi" / "stacks" / "lakehouse-lab"
        return {path.stem for path in folder.glob("*.json")}


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labs]:
    """``main`` is made, with a slot for ``team-b``."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "checkout").mkdir()
    (folder / "checkout" / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    made = Labs(folder)
    with pytest.MonkeyPatch.context() as patch:
        # Guardrails need the whole checkout, and have tests of their own.
        patch.setattr(Session, "policy_packs", lambda _: {})
        owner = made.session("main")
        ensure_project(owner.lab, virtualenv=owner.virtualenv, port_base=28000)
        for role in Role:
            set_config(owner.lab, role, "placement", "kubernetes")
        set_config(owner.lab, Role.PERSISTENT, "moreLabs", "team-b")
        owner.engine.up(Role.PERSISTENT)
        owner.engine.up(Role.LAB)
        yield made


def test_a_second_lab_reads_its_own_slot_and_writes_beside_the_first_ones_state(labs: Labs) -> None:
    guest = labs.session("team-b", LAB_SHARES="main")
    take_part(guest)
    assert guest.engine.up(Role.LAB).operation == "up"
    assert labs.stacks == {"persistent", "lab", "lab-team-b"}
    assert guest.slot().catalog_database.name == "team-b_catalog"
    found = guest.engine.outputs(Role.LAB, secrets=True) or {}
    assert found["database"]["password"] == "password-of-team-b"
    own = labs.session("main").engine.outputs(Role.LAB, secrets=True) or {}
    assert own["database"]["password"] == "password-of-main"
    for file in (labs.folder / "labs").rglob("*.json"):
        assert "password-of-" not in file.read_text(encoding="utf-8"), "it is encrypted wherever it lies"


def test_the_next_command_needs_to_be_told_nothing_and_changes_nothing(labs: Labs) -> None:
    guest = labs.session("team-b")
    take_part(guest)
    assert not guest.engine.up(Role.LAB).changed
    assert read_config(guest.lab, Role.PERSISTENT)["name"] == "main"
    assert guests_of(labs.session("main")) == ("team-b",)


def test_the_owners_stack_is_not_its_to_run(labs: Labs) -> None:
    engine = labs.session("team-b").engine
    for call in (engine.up, engine.preview, engine.refresh, engine.destroy, engine.remove):
        with pytest.raises(LabError, match="is another lab's"):
            call(Role.PERSISTENT)


def test_one_that_never_came_up_can_be_taken_over(labs: Labs) -> None:
    owner = labs.session("main")
    set_config(owner.lab, Role.PERSISTENT, "moreLabs", "team-b,ci")
    owner.engine.up(Role.PERSISTENT)
    first = labs.session("ci", LAB_SHARES="main")
    take_part(first)
    # Makes the stack, and no more.
    first.engine.preview(Role.LAB)
    assert "lab-ci" in labs.stacks
    shutil.rmtree(first.lab.home)
    with pytest.raises(UsageError, match="is there already"):
        take_part(labs.session("ci", LAB_SHARES="main"), fresh=True)
    assert not first.lab.home.exists()
    again = labs.session("ci", LAB_SHARES="main")
    take_part(again)
    assert again.slot().catalog_database.name == "ci_catalog"
    operations.destroy(again, lambda _: None)
    assert labs.stacks == {"persistent", "lab", "lab-team-b"}


def test_its_destruction_leaves_the_owner_and_lets_the_owner_go(labs: Labs) -> None:
    owner = labs.session("main")
    with pytest.raises(UsageError, match="labs share the persistent stack of lab 'main'"):
        operations.destroy(owner, lambda _: None)
    assert labs.stacks == {"persistent", "lab", "lab-team-b"}
    operations.destroy(labs.session("team-b"), lambda _: None)
    assert labs.stacks == {"persistent", "lab"}
    assert owner.slot().catalog_database.name == "main_catalog"
    operations.destroy(owner, lambda _: None)
    assert not owner.lab.home.exists()
