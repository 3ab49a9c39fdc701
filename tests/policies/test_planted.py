"""Holes planted in the policies and in the access data: each is caught by a test of this checkout.

A hole in the Rego must fail the Rego's own tests. A hole in the access data must differ from what
``cli/conformance.yaml`` expects, which is written down apart from the rules; tests/live plants such a hole in
a running lab.
"""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.conformance import DENIED, look_of, read_expectations
from contracts.access import AccessData, Grant, Mask, Privilege, RuleKind, TagAssignment
from contracts.identity import PERSONAS
from governance.effects import Effects, Reader
from governance.reports import Visibility
from seed.catalogue import seed_tables_for
from seed.model import SeedOptions
from tests.policies.server import POLICIES, seed_access
from tests.policies.test_rego import TIMEOUT

# --- in the Rego ------------------------------------------------------------------------------------------

HOLES = {
    "everything allowed by default": (
        "entry.rego",
        "default allow := false",
        "default allow := true",
        "test_missing_bundle_refuses",
    ),
    "rows through by default": (
        "entry.rego",
        '[{"expression": "false"}]',
        "[]",
        "test_missing_bundle_refuses",
    ),
    "no mask by default": (
        "entry.rego",
        'default columnMasks := [{"index": -1, "viewExpression": {"expression": "NULL"}}]',
        "default columnMasks := []",
        "test_missing_bundle_refuses",
    ),
    "a single decision without a look at the bundle's age": (
        "actual.rego",
        "age_ns <= data.lab.bundle.max_age_s * 1000000000",
        "age_ns <= data.lab.bundle.max_age_s * 1000000000000",
        "test_unacceptable_bundles_refuse",
    ),
    "a bundle from the future": (
        "actual.rego",
        "age_ns >= 0 - max_future_ns",
        "is_number(age_ns)",
        "test_unacceptable_bundles_refuse",
    ),
    "the filter identity for whoever claims it": (
        "actual.rego",
        "\tnot disguised\n",
        "",
        "test_the_counting_identity_comes_without_groups",
    ),
    "a denied column selected": (
        "actual.rego",
        "\t\tnot column_denied(need.namespace, need.table, column)\n",
        "\t\tis_string(column)\n",
        "test_decisions",
    ),
    "a denied column listed": (
        "objects.rego",
        "\tnot column_denied(table.schemaName, table.tableName, column)\n",
        "\tis_string(column)\n",
        "test_batch_of_columns_answers_column_indices",
    ),
    "an exception that never ends": (
        "actual.rego",
        "exception.expires_ns > time.now_ns()",
        "exception.expires_ns > 0",
        "test_an_exception_ends_by_itself",
    ),
    "an exemption for everybody": (
        "actual.rego",
        "\trule.exempt[group]\n",
        "\tis_string(group)\n",
        "test_an_exception_lifts_what_it_names",
    ),
    "metadata tables of tables under rules": (
        "objects.rego",
        '\ttable_privilege(table.schemaName, base, "select")\n\tnot restricted(table.schemaName, base)\n',
        '\ttable_privilege(table.schemaName, base, "select")\n',
        "test_batch_of_columns_answers_column_indices",
    ),
    "a view that shows others what its owner reads": (
        "requested.rego",
        'table_need(resource.table, "select"),\n\t\tabout("unruled", resource.table),\n',
        'table_need(resource.table, "select"),\n',
        "test_decisions",
    ),
    "a column renamed out of its rule": (
        "requested.rego",
        '{table_need(resource.table, "alter"), about("unruled", resource.table)}',
        '{table_need(resource.table, "alter")}',
        "test_rules_of_namespace_and_catalog_reach_every_table",
    ),
    "a table renamed out of its rule": (
        "requested.rego",
        'table_need(resource.table, "alter"),\n\t\tabout("unruled", resource.table),\n',
        'table_need(resource.table, "alter"),\n',
        "test_renaming",
    ),
    "a table at a place of one's own choice": (
        "requested.rego",
        'place_properties := {"data_location", "extra_properties", "location"}',
        'place_properties := {"location"}',
        "test_decisions",
    ),
    "truncation of rows that a filter hides": (
        "requested.rego",
        'table_need(resource.table, "delete"),\n\t\tabout("unrestricted", resource.table),\n',
        'table_need(resource.table, "delete"),\n',
        "test_decisions",
    ),
    "removal of files for whoever may maintain": (
        "requested.rego",
        '\t"drop_extended_stats",\n',
        '\t"drop_extended_stats",\n\t"expire_snapshots",\n',
        "test_decisions",
    ),
    "a procedure that the catalog does not bear": (
        "maintenance.rego",
        "\tdata.lab.maintenance.procedures[lower(resource.function.functionName)]\n",
        "\tis_string(resource.function.functionName)\n",
        "test_the_catalog_says_which_procedures",
    ),
    "values in metadata for the maintaining identity": (
        "maintenance.rego",
        "\t\tcolumn in open\n",
        "\t\tis_string(column)\n",
        "test_metadata_is_read_without_values",
    ),
    "register_table": (
        "requested.rego",
        'open_procedures := {"system": {"runtime": {"kill_query"}}}',
        'open_procedures := {"system": {"runtime": {"kill_query"}}, "lake": {"system": {"register_table"}}}',
        "test_decisions",
    ),
    "add_files": (
        "requested.rego",
        '\t"drop_extended_stats",\n',
        '\t"drop_extended_stats",\n\t"add_files",\n',
        "test_decisions",
    ),
    "table_changes and query": (
        "objects.rego",
        '\tfunction.functionName == "bucket"\n',
        "\tis_string(function.functionName)\n",
        "test_batch_of_other_listings",
    ),
    "a mask with a typo": (
        "views.rego",
        'shaped("email_domain", name, type)',
        'shaped("email_domian", name, type)',
        "test_masks",
    ),
    "a mask that lets short values through": (
        "views.rego",
        "length(CAST(%s AS varchar)) >= 8",
        "true",
        "test_mask_keeps_four_characters",
    ),
    "the weakest mask instead of the strongest": (
        "views.rego",
        "min(masks_reaching(column))",
        "max(masks_reaching(column))",
        "test_the_mask_that_hides_most_wins",
    ),
    "no filter for a reader without values": (
        "views.rego",
        'predicate(rule) := "false" if {',
        'predicate(rule) := "true" if {',
        "test_filter_by_group",
    ),
    "a filter that a reader's own condition comes before": (
        "views.rego",
        "\trule.guarded\n",
        "\tis_string(rule.guarded)\n",
        "test_filter_by_group",
    ),
    "a guard that lets every row through": (
        "views.rego",
        "THEN random() >= 0 ELSE false END",
        "THEN random() >= 0 ELSE true END",
        "test_filter_by_group",
    ),
    "a hash made as the reader, who may not read its key": (
        "views.rego",
        'mask_identity("hash") := {"identity": row_filter_user}',
        'mask_identity("hash") := {}',
        "test_the_hash_alone_is_read_as_another_identity",
    ),
    "the key of the hash for everybody": (
        "objects.rego",
        "catalog_visible(name) if name == data.lab.catalog\n",
        "catalog_visible(name) if name in {data.lab.catalog, data.lab.bundle.mask_key.catalog}\n",
        "test_decisions",
    ),
    "more than the key beside it": (
        "actual.rego",
        "\t\tcolumn == key.column\n",
        "\t\tis_string(column)\n",
        "test_decisions",
    ),
    "a quote in a user's name": (
        "views.rego",
        'replace(value, "\'", "\'\'")',
        "value",
        "test_every_filter_applies",
    ),
    "rows of a table of metadata": (
        "views.rego",
        "filters_on(table) := nothing if {",
        "filters_on(table) := [] if {",
        "test_filters_elsewhere",
    ),
}
"""What is planted: module, what stands there, what stands there instead, and the test that notices."""


@pytest.mark.parametrize("hole", HOLES)
def test_a_hole_in_the_policies_fails_their_tests(opa_program: Path, tmp_path: Path, hole: str) -> None:
    module, right, wrong, noticing = HOLES[hole]
    for path in (POLICIES / "trino").glob("*.rego"):
        text = path.read_text(encoding="utf-8")
        if path.name == module:
            assert right in text
            text = text.replace(right, wrong)
        (tmp_path / path.name).write_text(text, encoding="utf-8")

    command = [str(opa_program), "test", TIMEOUT, "--run", rf"\.{noticing}$", str(tmp_path)]
    tested = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert tested.returncode != 0, f"nobody notices {hole}"
    # What does not compile fails, too, and proves nothing.
    assert f".{noticing}" in tested.stdout
    assert "FAIL" in tested.stdout


# --- in the access data -----------------------------------------------------------------------------------

TABLES = {table.name: tuple(table.columns) for table in seed_tables_for(SeedOptions())}
LOOKS = {Mask.NULL.value: "null", Mask.LAST_4.value: "last_4", Mask.EMAIL_DOMAIN.value: "email_domain"}


def differences(access: AccessData) -> set[tuple[str, str, str]]:
    """(persona, table, rows or a column) where the access data does not bring about what is expected."""
    effects = Effects(access, {}, catalog="lake", now=datetime.now(tz=UTC))
    found = set()
    for persona in PERSONAS:
        reader = Reader(username=persona.username, groups=frozenset(persona.groups))
        for table in read_expectations().tables:
            view = effects.view(reader, table.table, TABLES[table.table])
            word = table.rows[persona.username]
            rows = DENIED if not view.readable else "filtered" if view.filters else "all"
            if rows != (word if word in (DENIED, "all") else "filtered"):
                found.add((persona.username, table.table, "rows"))
            if not view.readable:
                continue
            for use in view.columns:
                looks = table.columns.get(use.column, {}).get(persona.username, "plain")
                if _look(use.visibility, use.mask) not in (looks, _hashed(looks)):
                    found.add((persona.username, table.table, use.column))
    return found


def _look(visibility: Visibility, mask: str | None) -> str:
    if visibility is not Visibility.MASKED:
        return DENIED if visibility is Visibility.DENIED else "plain"
    return LOOKS.get(str(mask), str(mask))


def _hashed(looks: str) -> str:
    """A key and a text are hashed by the same mask and look different."""
    return Mask.HASH.value if looks in ("hashed_key", "sha256") else looks


def test_the_seed_brings_about_what_the_suite_expects() -> None:
    assert differences(seed_access()) == set()


def _without_deny(access: AccessData) -> AccessData:
    rules = tuple(rule for rule in access.rules if rule.id != "deny-address")
    return dataclasses.replace(access, rules=rules)


def _tag_misspelt(access: AccessData) -> AccessData:
    rules = tuple(
        dataclasses.replace(rule, tag="pii.emial") if rule.id == "mask-email" else rule
        for rule in access.rules
    )
    return dataclasses.replace(access, rules=rules)


def _weaker_mask(access: AccessData) -> AccessData:
    rules = tuple(
        dataclasses.replace(rule, mask=Mask.LAST_4) if rule.id == "hide-salary" else rule
        for rule in access.rules
    )
    return dataclasses.replace(access, rules=rules)


def _untagged(access: AccessData) -> AccessData:
    tags = tuple(tag for tag in access.tags if tag.object != "retail.supplier.s_phone")
    return dataclasses.replace(access, tags=tags)


def _no_filter(access: AccessData) -> AccessData:
    rules = tuple(rule for rule in access.rules if rule.id != "supervisor-chain")
    assert any(rule.kind is RuleKind.ROW_FILTER for rule in rules)
    return dataclasses.replace(access, rules=rules)


def _more_granted(access: AccessData) -> AccessData:
    grant = Grant(group="hr_partners", object="retail.nation", privileges=(Privilege.SELECT,))
    return dataclasses.replace(access, grants=(*access.grants, grant))


def _tag_too_many(access: AccessData) -> AccessData:
    tag = TagAssignment(object="retail.part.p_name", tag="free_text")
    return dataclasses.replace(access, tags=(*access.tags, tag))


@pytest.mark.parametrize(
    ("plant", "noticed"),
    [
        (_without_deny, ("auditor", "retail.customer", "c_address")),
        (_tag_misspelt, ("analyst_emea", "web.events", "email")),
        (_weaker_mask, ("steward", "hr.employees", "salary")),
        (_untagged, ("auditor", "retail.supplier", "s_phone")),
        (_no_filter, ("analyst_amer", "hr.employees", "rows")),
        (_more_granted, ("hr", "retail.nation", "rows")),
        (_tag_too_many, ("auditor", "retail.part", "p_name")),
    ],
)
def test_a_hole_in_the_access_data_is_a_difference(
    plant: Callable[[AccessData], AccessData], noticed: tuple[str, str, str]
) -> None:
    assert noticed in differences(plant(seed_access()))


def test_looks_are_told_by_values_alone() -> None:
    """What the live suite sees of the same holes."""
    masks = read_expectations().masks
    assert look_of(["12 Some Street"], DENIED, masks) != DENIED
    assert look_of(["a@b.example"], "email_domain", masks) == "plain"
