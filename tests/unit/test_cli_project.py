"""The lab's own project directory, its config lines, its exports and its block of ports."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from cli.backend import backend_url, file_backend, secrets_provider
from cli.components import merge
from cli.ports import blocks_in_use, check_block, choose_block, remember_folder
from cli.project import (
    Lab,
    ensure_project,
    open_lab,
    parse_config,
    passphrase_is_lost,
    program_environment,
    read_config,
    set_config,
    shell_lines,
    with_config_value,
)
from contracts.errors import PreflightError, UsageError
from contracts.settings import Role
from tests.unit.cli_fakes import ROOT


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    folder = tmp_path / "it's a home"
    return Lab(name="lab", home=folder / "lab", root=ROOT, cache=tmp_path / "cache")


def make(lab: Lab, port_base: int = 28200) -> bool:
    return ensure_project(lab, virtualenv=Path("/venv with space"), port_base=port_base)


def test_project_is_made_once_and_kept(lab: Lab) -> None:
    assert make(lab)
    before = {path: path.read_bytes() for path in lab.home.rglob("*") if path.is_file()}
    assert not make(lab, port_base=0)
    assert {path: path.read_bytes() for path in lab.home.rglob("*") if path.is_file()} == before
    document = yaml.safe_load((lab.project_dir / "Pulumi.yaml").read_text())
    assert document["main"] == str(ROOT)
    assert document["runtime"]["options"]["virtualenv"] == "/venv with space"
    for entry in document["plugins"]["providers"]:
        assert (Path(entry["path"]) / f"pulumi-resource-{entry['name']}").is_file()


def test_a_moved_checkout_changes_the_project_file_alone(lab: Lab, tmp_path: Path) -> None:
    make(lab)
    stack_file = lab.stack_file(Role.LAB).read_bytes()
    moved = Lab(name="lab", home=lab.home, root=tmp_path / "elsewhere", cache=lab.cache)
    ensure_project(moved, virtualenv=Path("/other"), port_base=1)
    assert yaml.safe_load((lab.project_dir / "Pulumi.yaml").read_text())["main"] == str(moved.root)
    assert lab.stack_file(Role.LAB).read_bytes() == stack_file


def test_stack_files_come_from_the_documented_templates(lab: Lab) -> None:
    make(lab)
    for role in Role:
        template = (ROOT / f"Pulumi.{role.value}.yaml").read_text()
        config = read_config(lab, role)
        assert config["role"] == role.value
        assert config["portBase"] == "28200"
        assert config["home"] == str(lab.home)
        # Every comment that documents a key is still there.
        comments = [line for line in template.splitlines() if line.startswith("  # ") and ":" not in line]
        assert all(line in lab.stack_file(role).read_text() for line in comments)


def test_secrets_are_the_users_alone_whatever_the_umask(lab: Lab) -> None:
    before = os.umask(0)
    try:
        make(lab)
    finally:
        os.umask(before)
    assert stat.S_IMODE(lab.passphrase_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(lab.secrets_dir.stat().st_mode) == 0o700
    assert len(lab.passphrase_file.read_text()) >= 32


@pytest.mark.parametrize(
    "text",
    [
        "",
        "config:\n",
        "config: {}\n",
        "encryptionsalt: v1:x\n",
        'config:\n  lakehouse-lab:role: lab\n  # what it is\n  # lakehouse-lab:scaleFactor: "0.1"\n',
        "config:\n  lakehouse-lab:scaleFactor: 5\nencryptionsalt: v1:x\n",
    ],
)
@pytest.mark.parametrize("value", ["0.01", "", "a: b # c", 'quote " and \\', "ü"])
def test_setting_one_key_leaves_every_other_line(text: str, value: str) -> None:
    after = with_config_value(text, "scaleFactor", value)
    assert parse_config(after)["scaleFactor"] == value
    assert after.count("lakehouse-lab:scaleFactor:") == 1
    others = [line for line in text.splitlines() if line.startswith("  lakehouse-lab:role")]
    assert all(line in after.splitlines() for line in others)
    assert ("encryptionsalt" in after) == ("encryptionsalt" in text)
    assert with_config_value(after, "scaleFactor", value) == after


def test_only_settings_that_are_valid_are_written(lab: Lab) -> None:
    make(lab)
    before = lab.stack_file(Role.LAB).read_text()
    with pytest.raises(UsageError, match="is not valid"):
        set_config(lab, Role.LAB, "scaleFactor", "lots")
    with pytest.raises(UsageError, match="no setting named"):
        set_config(lab, Role.LAB, "nonsense", "1")
    assert lab.stack_file(Role.LAB).read_text() == before


@pytest.mark.parametrize("name", ["Lab", "1st", "a b", "../x", "a" * 21, "-x"])
def test_lab_names_are_checked(name: str) -> None:
    with pytest.raises(UsageError, match="name is not valid"):
        open_lab(name, {})


def test_lab_name_comes_from_option_then_environment(tmp_path: Path) -> None:
    environ = {"LAB_NAME": "team-a", "LAB_HOME": str(tmp_path)}
    assert open_lab(None, environ).home == tmp_path / "team-a"
    assert open_lab("mine", environ).name == "mine"
    assert open_lab(None, {"LAB_HOME": str(tmp_path)}).name == "lab"


def test_exports_survive_a_shell_with_any_path(lab: Lab, tmp_path: Path) -> None:
    make(lab)
    environ = {"LAB_HOME": str(lab.home.parent), "LAB_CACHE": str(lab.cache), "PYTHONPATH": "/a b"}
    values = program_environment(lab, environ)
    script = "\n".join([*shell_lines(lab, values), "pwd", "env -0"])
    shell = {"PATH": "/usr/bin:/bin", "PULUMI_CONFIG_PASSPHRASE": "of another project"}
    out = subprocess.run(["sh", "-euc", script], env=shell, capture_output=True, text=True, check=True).stdout
    folder, _, dump = out.partition("\n")
    seen = dict(entry.split("=", 1) for entry in dump.split("\0") if entry)
    assert folder == str(lab.project_dir)
    assert {name: seen[name] for name in values} == values
    assert "PULUMI_CONFIG_PASSPHRASE" not in seen
    assert seen["PYTHONPATH"] == f"{ROOT}:/a b"


def test_a_backend_of_ones_own_is_remembered(lab: Lab) -> None:
    elsewhere = {"LAB_BACKEND_URL": "s3://bucket/"}
    assert program_environment(lab, elsewhere)["PULUMI_BACKEND_URL"] == "s3://bucket"
    assert program_environment(lab, {})["PULUMI_BACKEND_URL"] == f"file://{lab.state_dir}"
    ensure_project(lab, virtualenv=Path("/venv"), port_base=1, backend=backend_url(lab, elsewhere))
    ensure_project(lab, virtualenv=Path("/moved"), port_base=1)
    assert program_environment(lab, {})["PULUMI_BACKEND_URL"] == "s3://bucket"
    assert file_backend(lab, {}) is None


def test_another_backend_than_the_state_lies_in_is_refused(lab: Lab, tmp_path: Path) -> None:
    make(lab)
    stacks = lab.state_dir / ".pulumi" / "stacks" / "lakehouse-lab"
    stacks.mkdir(parents=True)
    (stacks / "persistent.json").write_text("{}")
    with pytest.raises(UsageError) as refused:
        backend_url(lab, {"LAB_BACKEND_URL": f"file://{tmp_path}/other"})
    assert refused.value.permitted == f"file://{lab.state_dir}"


KMS = "awskms://alias/lab-state?region=eu-central-1"


def test_a_key_for_the_state_is_remembered_by_both_stacks(lab: Lab) -> None:
    asked = {"LAB_SECRETS_PROVIDER": KMS}
    assert secrets_provider(lab, {}) is None
    ensure_project(lab, virtualenv=Path("/venv"), port_base=1, secrets_key=secrets_provider(lab, asked))
    assert secrets_provider(lab, {}) == secrets_provider(lab, asked) == KMS
    for role in Role:
        document = yaml.safe_load(lab.stack_file(role).read_text())
        assert document["secretsprovider"] == KMS
        assert document["config"]["lakehouse-lab:role"] == role.value
        set_config(lab, role, "portBase", "29000")
        assert yaml.safe_load(lab.stack_file(role).read_text())["secretsprovider"] == KMS
    before = lab.stack_file(Role.LAB).read_text()
    ensure_project(lab, virtualenv=Path("/venv"), port_base=1, secrets_key=KMS)
    assert lab.stack_file(Role.LAB).read_text() == before


@pytest.mark.parametrize("given", ["alias/lab-state", "awskms://", "passphrase", "s3://bucket"])
def test_what_is_no_key_is_refused(lab: Lab, given: str) -> None:
    with pytest.raises(UsageError, match="not the URL of a key"):
        secrets_provider(lab, {"LAB_SECRETS_PROVIDER": given})


@pytest.mark.parametrize(
    ("line", "permitted"),
    [
        ("encryptionsalt: v1:abc", "the passphrase in its folder"),
        (
            "secretsprovider: awskms://alias/other?region=eu-central-1",
            "awskms://alias/other?region=eu-central-1",
        ),
    ],
)
def test_a_state_is_not_encrypted_anew_by_itself(lab: Lab, line: str, permitted: str) -> None:
    make(lab)
    file = lab.stack_file(Role.PERSISTENT)
    file.write_text(f"{file.read_text()}{line}\n")
    with pytest.raises(UsageError, match="encrypted otherwise") as refused:
        secrets_provider(lab, {"LAB_SECRETS_PROVIDER": KMS})
    assert refused.value.permitted == permitted
    assert "change-secrets-provider" in str(refused.value.next_command)


@pytest.mark.parametrize("given", ["bucket", "file://relative/folder", "file:/x"])
def test_what_is_no_backend_is_refused(lab: Lab, given: str) -> None:
    with pytest.raises(UsageError, match="not the URL of a state backend"):
        backend_url(lab, {"LAB_BACKEND_URL": given})


def test_a_file_backend_elsewhere_is_looked_at_where_it_is(lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    assert file_backend(lab, {"LAB_BACKEND_URL": f"file://{folder}"}) == folder
    assert file_backend(lab, {"LAB_BACKEND_URL": "file://~/x"}) == Path.home() / "x"
    assert file_backend(lab, {}) == lab.state_dir


def test_a_salt_without_its_passphrase_is_a_lost_one(lab: Lab) -> None:
    make(lab)
    assert not passphrase_is_lost(lab)
    lab.passphrase_file.unlink()
    assert not passphrase_is_lost(lab)
    with lab.stack_file(Role.LAB).open("a") as file:
        file.write("encryptionsalt: v1:x\n")
    assert passphrase_is_lost(lab)


def test_each_lab_has_a_block_of_its_own(tmp_path: Path) -> None:
    def new(name: str, base: int) -> None:
        make(Lab(name=name, home=tmp_path / name, root=ROOT, cache=tmp_path), port_base=base)

    assert choose_block(tmp_path, free=lambda _: True) == 28000
    new("one", 28000)
    assert choose_block(tmp_path, free=lambda _: True) == 28200
    # A block that somebody set by hand, not on the grid, is respected.
    new("two", 28300)
    assert choose_block(tmp_path, free=lambda _: True) == 28600
    assert choose_block(tmp_path, free=lambda port: port != 28601) == 28800


def test_blocks_of_labs_in_other_folders_are_left_to_them_as_long_as_there_are_others(tmp_path: Path) -> None:
    here, there, gone = tmp_path / "here", tmp_path / "there", tmp_path / "gone"
    make(Lab(name="one", home=there / "one", root=ROOT, cache=tmp_path), port_base=28000)
    assert remember_folder(tmp_path / "cache", there) == []
    assert remember_folder(tmp_path / "cache", gone) == [there]
    others = remember_folder(tmp_path / "cache", here)
    assert others == [there]
    assert choose_block(here, others, free=lambda _: True) == 28200
    assert choose_block(here, others, free=lambda port: port < 28200) == 28000


def test_no_free_block_is_said_with_who_holds_each(tmp_path: Path) -> None:
    make(Lab(name="one", home=tmp_path / "one", root=ROOT, cache=tmp_path), port_base=28200)
    with pytest.raises(PreflightError, match="no block") as error:
        choose_block(tmp_path, free=lambda port: port % 200 != 7, owner=lambda port: f"process of {port}")
    assert "28200 by lab 'one'" in str(error.value)
    assert "28000 since 28007 is taken by process of 28007" in str(error.value)
    assert "28200 since" not in str(error.value)


@pytest.mark.parametrize("base", [28000, 28199, 27801])
def test_a_block_that_overlaps_another_labs_is_refused(tmp_path: Path, base: int) -> None:
    make(Lab(name="one", home=tmp_path / "one", root=ROOT, cache=tmp_path), port_base=28000)
    with pytest.raises(PreflightError, match="that of lab 'one', 28000 to 28199") as error:
        check_block(tmp_path, "two", base)
    assert error.value.next_command is not None
    assert error.value.next_command.startswith("lab up --set portBase=")
    check_block(tmp_path, "one", base)
    check_block(tmp_path, "two", 28200)
    check_block(tmp_path, "two", 27800)


def test_two_labs_made_at_once_get_blocks_of_their_own(tmp_path: Path) -> None:
    """Each in a process of its own, as two commands would be."""
    code = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from cli import steps
        from tests.unit.cli_fakes import fake_run
        made = fake_run(Path(sys.argv[1]), sys.argv[2])
        sys.stdin.readline()
        steps.prepare_project(made.session)
        """
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), name], cwd=ROOT, stdin=subprocess.PIPE, text=True
        )
        for name in ("a", "b", "c")
    ]
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("go\n")
        run.stdin.flush()
    for run in runs:
        run.communicate(timeout=60)
        assert run.returncode == 0
    assert sorted(blocks_in_use(tmp_path).values()) == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["master", "Lab", "1a", "a_b", "", "x" * 21])
def test_names_that_no_lab_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not master"):
        open_lab(name, {"LAB_HOME": str(tmp_path), "LAB_NAME": "Not"})


def test_saved_set_keeps_its_order_and_has_no_doubles() -> None:
    assert merge(("trino",), ["trino"], []) == ("trino",)
    assert merge((), ["trino"], []) == ("trino",)
    assert merge(("trino",), [], ["trino"]) == ()
    # The core is not part of it, though it may be named.
    assert merge(("trino",), ["opa"], []) == ("trino",)
