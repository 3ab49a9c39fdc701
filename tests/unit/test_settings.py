"""The settings table: defaults, refusals with examples, and the templates made from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.operations import write_templates
from contracts.errors import UsageError
from contracts.settings import (
    PLACEMENTS,
    SETTINGS,
    Role,
    Setting,
    cache_home,
    environment,
    lab_home,
    labs_home,
    program_settings,
    read_settings,
    refuse_misplaced,
)
from contracts.templates import stack_template

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("role", list(Role))
def test_tracked_templates_are_what_the_table_says(role: Role) -> None:
    tracked = (ROOT / f"Pulumi.{role.value}.yaml").read_text(encoding="utf-8")
    assert tracked == stack_template(role), "regenerate the template from contracts.templates"


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.key)
def test_every_setting_is_documented_and_its_example_and_default_are_valid(setting: Setting) -> None:
    assert len(setting.doc) > 10
    assert setting.roles
    setting.parse(setting.example)
    if setting.default or setting.key not in {"role", "home"}:
        setting.parse(setting.default)


def test_defaults_of_a_lab_stack(tmp_path: Path) -> None:
    settings = read_settings({"role": "lab"}, {"LAB_HOME": str(tmp_path)})
    assert settings.name == "lab"
    assert settings.home == tmp_path / "lab"
    assert settings.components == ("trino",)
    assert settings.scale_factor == 0.1
    assert settings.sample_data is True


def test_a_component_reads_a_setting_of_its_own_by_its_key() -> None:
    settings = read_settings({"role": "lab", "trinoHeapMib": "2048"}, {})
    assert settings.values["trinoHeapMib"] == settings.trino_heap_mib == 2048
    assert set(settings.values) == {setting.key for setting in SETTINGS}


def test_templates_are_written_where_they_differ(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.lab.yaml").write_text(stack_template(Role.LAB), encoding="utf-8")
    (tmp_path / "Pulumi.persistent.yaml").write_text("old", encoding="utf-8")
    assert write_templates(tmp_path) == ("Pulumi.persistent.yaml",)
    assert (tmp_path / "Pulumi.persistent.yaml").read_text() == stack_template(Role.PERSISTENT)
    assert write_templates(tmp_path) == ()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("portBase", "80", "1024 to 65000"),
        ("portBase", "many", "whole number"),
        ("scaleFactor", "nan", "0.001 to 1000"),
        ("scaleFactor", "-1", "0.001 to 1000"),
        ("placement", "laptop", "local, kubernetes, aws"),
        ("name", "Lab 1", "lower-case"),
        ("components", "Trino;Spark", "separated by commas"),
        ("bundleMaxAgeS", "5", "120 to 86400"),
    ],
)
def test_a_wrong_value_names_what_is_permitted_and_gives_an_example(key: str, value: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_settings({"role": "lab", key: value}, {})
    assert said in str(caught.value)
    assert repr(value) in str(caught.value)
    assert f"pulumi config set {key} " in str(caught.value)


def test_an_unknown_key_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'scaleFactor'"):
        read_settings({"role": "lab", "scalefactor": "1"}, {})


def test_a_key_of_the_other_stack_is_refused() -> None:
    with pytest.raises(UsageError, match="does not belong to the persistent stack"):
        read_settings({"role": "persistent", "components": "trino"}, {})


def test_role_is_required() -> None:
    with pytest.raises(UsageError, match="'role'"):
        read_settings({}, {})


def test_a_program_reads_its_config_from_the_engine() -> None:
    config = {"lakehouse-lab:role": "lab", "lakehouse-lab:scaleFactor": "0.01", "aws:region": "eu-west-1"}
    assert program_settings({"PULUMI_CONFIG": json.dumps(config)}).scale_factor == 0.01


def test_homes_follow_the_environment(tmp_path: Path) -> None:
    assert labs_home({"LAB_HOME": str(tmp_path)}) == tmp_path
    assert lab_home("b", {"XDG_DATA_HOME": str(tmp_path)}) == tmp_path / "lakehouse-lab" / "b"
    assert cache_home({"LAB_CACHE": str(tmp_path / "c")}) == tmp_path / "c"
    assert cache_home({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "lakehouse-lab"


def test_an_undocumented_variable_is_refused() -> None:
    with pytest.raises(UsageError, match="LAB_NAME"):
        environment("LAB_NAMES", {})
    assert environment("LAB_NAME", {"LAB_NAME": ""}) is None


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.key)
def test_a_setting_of_one_placement_is_refused_on_the_others(setting: Setting) -> None:
    assert setting.placements, setting.key
    assert set(setting.placements) <= set(PLACEMENTS)
    assert not setting.doc.startswith(PLACEMENTS), "the table says it"
    if setting.key == "role" or setting.parse(setting.example) == setting.parse(setting.default):
        return
    role = min(setting.roles)
    for placement in PLACEMENTS:
        config = {"role": role, "placement": placement, setting.key: setting.example}
        if placement in setting.placements or setting.key == "placement":
            refuse_misplaced(config)
            continue
        with pytest.raises(UsageError, match=f"does nothing on placement '{placement}'") as refused:
            refuse_misplaced(config)
        assert f"on placement {' or '.join(setting.placements)}" in str(refused.value)
        assert f"pulumi config rm {setting.key} -s {role}" in str(refused.value)
        assert not setting.secret or setting.example not in str(refused.value)


def test_a_default_of_another_placement_asks_for_nothing() -> None:
    refuse_misplaced({"role": "lab", "ingressDomain": "", "trinoWorkers": "0", "awsNat": "single"})


def test_a_program_refuses_what_its_placement_would_ignore() -> None:
    own = {"role": "lab", "placement": "aws", "ingressDomain": "lab.example.org"}
    with pytest.raises(UsageError, match="'ingressDomain' does nothing on placement 'aws'"):
        program_settings({"PULUMI_CONFIG": json.dumps({f"lakehouse-lab:{k}": v for k, v in own.items()})})
