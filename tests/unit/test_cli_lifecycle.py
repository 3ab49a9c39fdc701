"""Order of the steps of up, down and destroy, and what each leaves behind, with a fake engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli import operations, steps
from cli.events import PlannedStep
from cli.operations.lifecycle import PreviewResult
from cli.operations.removal import DestroyPlan
from cli.project import read_config, set_config
from cli.render import to_json
from contracts.errors import LabError, PreflightError, UsageError
from contracts.settings import Role
from tests.unit.cli_fakes import FakeRun, fake_run, service


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    """No network, no other listeners on this machine, no downloads."""
    made = fake_run(tmp_path / "labs with space")
    monkeypatch.setattr(steps, "fetch", lambda *_: made.calls.append("fetch"))
    monkeypatch.setattr("cli.operations.lifecycle.fetch", steps.fetch)
    monkeypatch.setattr("placements.local.artifacts.reachable", lambda _: False)
    monkeypatch.setattr(steps, "choose_block", lambda *_: 28000)
    monkeypatch.setattr("placements.local.preflight.check_ports", lambda *_, **__: None)
    return made


def test_first_up_makes_what_is_kept_before_the_lab(run: FakeRun) -> None:
    result = operations.up(run.session)
    assert run.calls == ["fetch", "up persistent", "up lab"]
    assert result.components == ("keycloak", "nessie", "opa", "governor", "trino")
    assert result.personas.keys() >= {"engineer", "analyst_emea", "outsider"}
    assert result.urls["trino"].startswith("https://127.0.0.1:")
    assert list(result.timings_s) == ["checks", "software", "persistent stack", "lab stack"]


def test_second_up_starts_the_foundation_instead_of_running_its_stack(run: FakeRun) -> None:
    operations.up(run.session)
    run.calls.clear()
    operations.up(run.session)
    assert run.calls == [
        *("fetch", "resume keycloak,catalog,opa,governor,trino,trino-tokens"),
        *("start postgres,s3", "up lab"),
    ]


def test_services_have_no_head_start_where_their_plans_have_changed(run: FakeRun) -> None:
    operations.up(run.session)
    run.calls.clear()
    operations.up(run.session, changes={"trinoHeapMib": "1500", "warehousePrefix": "other"})
    assert run.calls == ["fetch", "up persistent", "up lab"]


def test_services_of_a_head_start_that_the_engine_never_got_to_are_forgotten(run: FakeRun) -> None:
    run.supervisor.services = [service("postgres"), service("catalog"), service("trino")]
    operations.up(run.session, core=True)
    assert run.calls[-1] == "remove trino"


def test_services_beside_the_one_that_a_component_is_known_by_are_its_own(run: FakeRun) -> None:
    run.supervisor.services = [service("catalog"), service("trino"), service("trino-tokens")]
    operations.up(run.session)
    assert not [call for call in run.calls if call.startswith("remove")]
    operations.up(run.session, core=True)
    assert run.calls[-2:] == ["remove trino", "remove trino-tokens"]


def test_a_foundation_that_does_not_start_has_its_stack_run(run: FakeRun) -> None:
    operations.up(run.session)
    run.calls.clear()
    run.supervisor.fail_start = True
    operations.up(run.session)
    assert run.calls[-3:] == ["start postgres,s3", "up persistent", "up lab"]
    assert any("did not start" in line for line in run.said)


def test_changed_persistent_settings_run_its_stack_again(run: FakeRun) -> None:
    operations.up(run.session)
    run.calls.clear()
    operations.up(run.session, changes={"warehousePrefix": "other"})
    assert "up persistent" in run.calls


def test_a_failed_persistent_stack_is_run_again(run: FakeRun) -> None:
    run.engine.fail_on = "up persistent"
    with pytest.raises(LabError, match="up persistent failed"):
        operations.up(run.session)
    assert run.calls[-1] == "up persistent"
    run.engine.fail_on = None
    operations.up(run.session)
    assert run.calls[-2:] == ["up persistent", "up lab"]


def test_components_join_and_leave_the_saved_set(run: FakeRun) -> None:
    operations.up(run.session, without=["trino"])
    assert read_config(run.lab, Role.LAB)["components"] == ""
    operations.up(run.session)
    assert read_config(run.lab, Role.LAB)["components"] == ""
    operations.up(run.session, add=["trino"])
    assert read_config(run.lab, Role.LAB)["components"] == "trino"


def test_core_alone_leaves_the_saved_set(run: FakeRun) -> None:
    before = operations.up(run.session) and run.lab.stack_file(Role.LAB).read_text()
    operations.up(run.session, core=True)
    file = run.engine.config_files[-1]
    assert file is not None
    assert 'lakehouse-lab:components: ""' in file.read_text()
    assert run.lab.stack_file(Role.LAB).read_text() == before
    operations.up(run.session)
    assert run.engine.config_files[-1] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"add": ["trinoo"]}, "did you mean 'trino'"),
        ({"without": ["keycloak"]}, "belongs to the core"),
        ({"add": ["trino"], "without": ["trino"]}, "both named and removed"),
        ({"changes": {"scaleFacto": "1"}}, "did you mean 'scaleFactor'"),
        ({"changes": {"scaleFactor": "many"}}, "is not valid"),
        ({"changes": {"home": "/x"}}, "is not set this way"),
        ({"catalog": "polaris"}, "can't be had"),
    ],
)
def test_wrong_words_start_nothing(run: FakeRun, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        operations.up(run.session, **arguments)
    assert run.calls == []
    assert not run.lab.home.exists()


def test_a_block_of_ports_that_is_asked_for_is_taken_from_the_start(run: FakeRun) -> None:
    operations.up(run.session, changes={"portBase": "29000"})
    assert read_config(run.lab, Role.PERSISTENT)["portBase"] == "29000"
    assert any("ports 29000 to 29199" in line for line in run.said)


@pytest.mark.parametrize("placement", ["local", "aws"])
def test_a_setting_of_another_placement_is_refused_and_makes_nothing(run: FakeRun, placement: str) -> None:
    for operation in (operations.up, operations.bootstrap):
        with pytest.raises(UsageError, match=f"'ingressClass' does nothing on placement '{placement}'") as no:
            operation(run.session, changes={"placement": placement, "ingressClass": "nginx"})
        assert "without that --set" in str(no.value)
    assert run.calls == []
    assert not run.lab.exists


def test_a_setting_that_was_kept_for_another_placement_is_refused_until_it_is_taken_away(
    run: FakeRun,
) -> None:
    operations.up(run.session)
    set_config(run.lab, Role.LAB, "nodeClasses", "required")
    run.calls.clear()
    with pytest.raises(UsageError, match="'nodeClasses' does nothing on placement 'local'") as refused:
        operations.up(run.session, changes={"trinoHeapMib": "1500"})
    assert "pulumi config rm nodeClasses -s lab" in str(refused.value)
    assert run.calls == []
    assert "trinoHeapMib" not in read_config(run.lab, Role.LAB)
    operations.up(run.session, changes={"nodeClasses": "preferred"})
    assert run.calls[-1] == "up lab"


def test_another_labs_block_of_ports_starts_nothing(run: FakeRun) -> None:
    operations.up(run.session)
    other = fake_run(run.lab.home.parent, "other")
    with pytest.raises(PreflightError, match="that of lab 'lab', 28000 to 28199"):
        operations.up(other.session, changes={"portBase": "28100"})
    assert other.calls == []
    assert not other.lab.home.exists()


def test_too_little_memory_starts_nothing(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    from collections import namedtuple

    memory = namedtuple("memory", "available total")
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory(300 << 20, 8 << 30))
    with pytest.raises(PreflightError):
        operations.up(run.session)
    assert run.calls == []
    assert not run.lab.home.exists()


def test_the_catalog_is_pinned_once_it_holds_tables(run: FakeRun) -> None:
    operations.up(run.session)
    assert read_config(run.lab, Role.PERSISTENT)["catalog"] == "nessie"
    assert read_config(run.lab, Role.LAB)["catalog"] == "nessie"
    assert sum("Nessie" in line for line in run.said) == 1
    with pytest.raises(UsageError, match="this lab's catalog is nessie"):
        operations.up(run.session, catalog="polaris")


def test_the_catalog_stays_when_polaris_becomes_reachable(
    run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations.up(run.session)
    monkeypatch.setattr("placements.local.artifacts.reachable", lambda _: True)
    operations.up(run.session)
    assert read_config(run.lab, Role.LAB)["catalog"] == "nessie"


def test_down_destroys_the_lab_then_stops_the_foundation(run: FakeRun) -> None:
    operations.up(run.session)
    run.calls.clear()
    run.engine.changes = {"delete": 7}
    result = operations.down(run.session)
    assert run.calls == ["destroy lab", "stop all", "shutdown"]
    assert result.removed == 7
    with pytest.raises(LabError, match="is not up"):
        run.session.outputs()
    assert run.lab.passphrase_file.exists()


def test_services_stop_while_the_engine_starts_the_foundation_after_it(run: FakeRun) -> None:
    operations.up(run.session)
    run.calls.clear()
    run.supervisor.services = [service("postgres"), service("catalog"), service("trino", pid=None)]
    operations.down(run.session)
    assert run.calls == [
        *("begin to stop catalog", "destroy lab", "remove catalog", "remove trino"),
        *("stop all", "shutdown"),
    ]


def test_up_with_nothing_to_do_asks_the_engine_for_no_outputs(
    run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = operations.up(run.session)
    run.engine.shown = {"lab": "lab", "trino_url": result.urls["trino"], "ca_certificate": "[secret]"}
    monkeypatch.setattr(run.engine, "outputs", lambda *_, **__: pytest.fail("the engine was asked"))
    assert operations.up(run.session).urls == result.urls


def test_outputs_of_before_down_are_taken_when_they_are_the_same_again(
    run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = operations.up(run.session)
    operations.down(run.session)
    with pytest.raises(LabError, match="is not up"):
        run.session.outputs()
    run.engine.shown = {"lab": "lab", "trino_url": result.urls["trino"], "ca_certificate": "[secret]"}
    monkeypatch.setattr(run.engine, "outputs", lambda *_, **__: pytest.fail("the engine was asked"))
    assert operations.up(run.session).urls == result.urls
    assert run.session.outputs().lab == "lab"


def test_outputs_that_differ_from_those_kept_are_asked_for(run: FakeRun) -> None:
    operations.up(run.session)
    run.engine.shown = {"lab": "lab", "trino_url": "https://127.0.0.1:1"}
    run.session.outputs_file.write_text(run.session.outputs_file.read_text().replace("lab", "lob"))
    assert operations.up(run.session).lab == "lab"
    assert run.session.outputs().lab == "lab"


def test_down_of_no_lab_says_what_to_do(run: FakeRun) -> None:
    with pytest.raises(LabError, match="there is no lab named 'lab'"):
        operations.down(run.session)


def test_destroy_asks_before_anything_happens(run: FakeRun) -> None:
    operations.up(run.session)
    run.calls.clear()

    def refuse(plan: DestroyPlan) -> None:
        assert any(str(run.lab.home) in line for line in plan.removes)
        raise UsageError("no")

    with pytest.raises(UsageError):
        operations.destroy(run.session, refuse)
    assert run.calls == []
    assert run.lab.exists


def test_destroy_removes_the_lab_and_not_the_cache(run: FakeRun) -> None:
    operations.up(run.session)
    run.lab.cache.mkdir(parents=True, exist_ok=True)
    other = run.lab.home.parent / "other" / "project" / "Pulumi.yaml"
    other.parent.mkdir(parents=True)
    other.touch()
    operations.destroy(run.session, lambda _: None)
    assert run.calls[-2:] == ["stop all", "shutdown"]
    assert not run.lab.home.exists()
    assert run.lab.cache.exists()
    assert other.exists()


def test_destroy_goes_through_the_engine_when_state_is_elsewhere(run: FakeRun, tmp_path: Path) -> None:
    run.session.environ = {**run.session.environ, "LAB_BACKEND_URL": f"file://{tmp_path}"}
    operations.up(run.session)
    run.calls.clear()
    operations.destroy(run.session, lambda _: None)
    assert run.calls == [
        *("destroy lab", "remove lab", "destroy persistent", "remove persistent"),
        *("stop all", "shutdown"),
    ]


KMS = "awskms://alias/state?region=eu-central-1"


def known_elsewhere(run: FakeRun, folder: Path, name: str, key: str = KMS) -> None:
    """State of a lab in ``folder``, of which this machine knows nothing."""
    environ = {"LAB_BACKEND_URL": f"file://{folder}"}
    run.session.environ = {**run.session.environ, **environ}
    text = f"""\
config:
  lakehouse-lab:role: persistent
  lakehouse-lab:name: {name}
  lakehouse-lab:home: /home/somebody/else
  lakehouse-lab:portBase: "31000"
  lakehouse-lab:catalog: polaris
{f"secretsprovider: {key}" if key else "encryptionsalt: v1:abc"}
"""
    run.engine.settings_there = {Role.PERSISTENT: text}
    run.engine.stacks.add(Role.PERSISTENT)


def test_a_lab_is_joined_with_the_settings_of_its_last_run(run: FakeRun, tmp_path: Path) -> None:
    known_elsewhere(run, tmp_path, "lab")
    operations.up(run.session)
    assert run.calls[0] == "take settings of persistent"
    assert "up persistent" in run.calls, "it changes nothing where nothing changed"
    for role in Role:
        config = read_config(run.lab, role)
        assert config["role"] == role.value
        assert config["catalog"] == "polaris", "it is pinned, whatever this machine would choose"
        assert config["home"] == str(run.lab.home)
        assert config["portBase"] != "31000"
    run.calls.clear()
    operations.up(run.session)
    assert not [call for call in run.calls if call.startswith("take")]


def test_two_labs_never_share_the_place_of_their_state(run: FakeRun, tmp_path: Path) -> None:
    known_elsewhere(run, tmp_path, "other")
    for command in (operations.up, operations.bootstrap, operations.preview):
        with pytest.raises(UsageError, match="state of lab 'other' lies there") as refused:
            command(run.session)
        assert f"{tmp_path}/lab" in str(refused.value.permitted)
        assert not [call for call in run.calls if call.startswith(("up", "preview"))]
        assert not run.lab.home.exists(), "nothing is left half done"


def test_a_state_of_a_passphrase_elsewhere_is_not_joined(run: FakeRun, tmp_path: Path) -> None:
    known_elsewhere(run, tmp_path, "lab", key="")
    with pytest.raises(UsageError, match="passphrase of the machine that made it"):
        operations.up(run.session)
    assert not run.lab.home.exists()


def test_preview_of_a_new_lab_shows_what_is_kept_first(run: FakeRun) -> None:
    assert operations.preview(run.session).lab is None
    assert run.calls == ["preview persistent"]
    operations.up(run.session)
    run.calls.clear()
    assert operations.preview(run.session).lab == {"create": 3}


def test_credentials_keep_service_keys_back_unless_asked(run: FakeRun) -> None:
    operations.up(run.session)
    few = operations.credentials(run.session)
    assert {p.username: p.password for p in few.personas}["hr"] == "hr-password"
    assert few.keys == {}
    everything = operations.credentials(run.session, all_keys=True)
    assert everything.keys["s3 catalog secret key"] == "catalog-secret"
    assert everything.keys["client governor"] == "governor-secret"


def test_guardrails_judge_a_local_lab_when_asked_and_every_other_always(run: FakeRun) -> None:
    operations.up(run.session)
    assert run.session.policy_packs() == {}
    run.session.guardrails = True
    ((pack, configured),) = run.session.policy_packs().items()
    assert configured is None
    assert (pack / "PulumiPolicy.yaml").is_file()
    run.session.guardrails = False
    set_config(run.session.lab, Role.LAB, "placement", "kubernetes")
    assert run.session.policy_packs() == {pack: None}


def test_a_preview_tells_what_would_be_done_to_what_and_no_inputs(run: FakeRun) -> None:
    step = PlannedStep(op="update", type="a:b:C", name="it", before={"x": 1}, after={"x": 2}, changed=("x",))
    same = PlannedStep(op="same", type="a:b:C", name="other", before={}, after={})
    found = PreviewResult(persistent={"same": 1}, lab={"update": 1}, steps={Role.LAB: (step, same)})
    assert found.as_dict()["steps"] == [
        {"stack": "lab", "op": "update", "type": "a:b:C", "name": "it", "changed": ("x",)}
    ]
    assert json.loads(to_json(found))["lab"] == {"update": 1}
