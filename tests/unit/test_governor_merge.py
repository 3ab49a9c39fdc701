"""The seed merge: what nobody touched follows the seed, what people touched stays."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import UsageError
from governance.merge import Merge, merge_seed

Document = dict[str, Any]


def _document(**groups: str) -> Document:
    """Grants on ``a.b``: group → privileges separated by spaces."""
    grants = [{"group": g, "object": "a.b", "privileges": p.split()} for g, p in groups.items()]
    return {"grants": grants, "tags": [], "rules": []}


def _grants(merge: Merge) -> dict[str, str]:
    return {g["group"]: " ".join(g["privileges"]) for g in merge.document["grants"]}


@pytest.mark.parametrize(
    ("living", "old", "new", "expected", "counts"),
    [
        ({}, {}, {"a": "select"}, {"a": "select"}, (1, 0, 0, 0)),
        ({"a": "select"}, {"a": "select"}, {"a": "select"}, {"a": "select"}, (0, 0, 0, 0)),
        ({"a": "select"}, {"a": "select"}, {"a": "insert"}, {"a": "insert"}, (0, 1, 0, 0)),
        ({"a": "select"}, {"a": "select"}, {}, {}, (0, 0, 1, 0)),
        # edited by people
        ({"a": "drop"}, {"a": "select"}, {"a": "insert"}, {"a": "drop"}, (0, 0, 0, 1)),
        ({"a": "drop"}, {"a": "select"}, {}, {"a": "drop"}, (0, 0, 0, 0)),
        # removed by people
        ({}, {"a": "select"}, {"a": "select"}, {}, (0, 0, 0, 1)),
        ({}, {"a": "select"}, {"a": "insert"}, {}, (0, 0, 0, 1)),
        # added by people, then by the seed, too
        ({"a": "drop"}, {}, {"a": "select"}, {"a": "drop"}, (0, 0, 0, 1)),
        ({"a": "drop"}, {}, {}, {"a": "drop"}, (0, 0, 0, 0)),
        # edited by people to what the seed says now
        ({"a": "insert"}, {"a": "select"}, {"a": "insert"}, {"a": "insert"}, (0, 0, 0, 0)),
    ],
)
def test_merge(
    living: dict[str, str],
    old: dict[str, str],
    new: dict[str, str],
    expected: dict[str, str],
    counts: tuple[int, ...],
) -> None:
    merge = merge_seed(living=_document(**living), old_seed=_document(**old), new_seed=_document(**new))
    assert _grants(merge) == expected
    assert (merge.added, merge.updated, merge.removed, merge.kept) == counts
    assert merge.changed == (expected != living)


def test_reset_restores_the_seeds_items_and_leaves_those_of_people() -> None:
    merge = merge_seed(
        living=_document(edited="drop", theirs="select", stale="drop"),
        old_seed=_document(edited="select", removed="select", stale="select"),
        new_seed=_document(edited="select", removed="select"),
        reset=True,
    )
    assert _grants(merge) == {"edited": "select", "removed": "select", "theirs": "select"}
    assert (merge.added, merge.updated, merge.removed, merge.kept) == (1, 1, 1, 0)


def test_rules_and_tags_are_items_of_their_own() -> None:
    rule = {"id": "r", "kind": "column_mask", "tag": "pii", "mask": "null"}
    tag = {"object": "a.b.c", "tag": "pii"}
    seed = {"grants": [], "tags": [tag], "rules": [rule]}
    edited = {"grants": [], "tags": [], "rules": [{**rule, "mask": "hash"}]}
    merge = merge_seed(living=edited, old_seed=seed, new_seed={**seed, "rules": []})
    assert merge.document == {**edited, "tags": []}


def test_split_grants_of_one_group_and_object_are_one_item() -> None:
    split = {"grants": [*_document(a="select")["grants"], *_document(a="insert")["grants"]]}
    merge = merge_seed(living={}, old_seed={}, new_seed=split)
    assert _grants(merge) == {"a": "insert select"}
    assert merge.added == 1


def test_malformed_seed_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="did you mean 'select'"):
        merge_seed(living={}, old_seed={}, new_seed=_document(a="selec"))


_documents = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["select", "insert", "drop"])).map(
    lambda groups: _document(**groups)
)


@given(living=_documents, old=_documents, new=_documents, reset=st.booleans())
def test_second_merge_of_the_same_seed_changes_nothing(
    living: Document, old: Document, new: Document, reset: bool
) -> None:
    first = merge_seed(living=living, old_seed=old, new_seed=new, reset=reset)
    again = merge_seed(living=first.document, old_seed=new, new_seed=new, reset=reset)
    assert not again.changed
    assert again.document == first.document


@given(living=_documents, old=_documents, new=_documents)
def test_what_people_touched_is_never_overwritten(living: Document, old: Document, new: Document) -> None:
    def by_group(document: Document) -> dict[str, Any]:
        return {g["group"]: g for g in document["grants"]}

    merged = by_group(merge_seed(living=living, old_seed=old, new_seed=new).document)
    for group in "abcd":
        if by_group(living).get(group) != by_group(old).get(group):
            assert merged.get(group) == by_group(living).get(group)
        else:
            assert merged.get(group) == by_group(new).get(group)
