"""Access data as OPA sees it: compiled into indexes, then packed and signed. Pure functions.

Bundle format: https://www.openpolicyagent.org/docs/management-bundles/
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import jwt

from contracts.access import (
    EVERY_RULE,
    MASK_KEY,
    AccessData,
    AccessException,
    Mask,
    Privilege,
    Rule,
    RuleKind,
)
from contracts.errors import UsageError
from governance.predicates import guarded, literals, parts, placeholders, tables_read
from governance.reach import Holdings, Target, rule_targets

BUNDLE_NAME = "lab"
"""The bundle's name in OPA's configuration."""

BUNDLE_KEY = "bundles/access.tar.gz"
"""Object key of the published bundle, in the policy bucket."""

SIGNING_KEY_ID = "lab"
"""Id of the verification key in OPA's configuration and in the signature."""

BUNDLE_ROOT = "lab"
MASK_RANK = {Mask.NULL: 0, Mask.HASH: 1, Mask.LAST_4: 2, Mask.EMAIL_DOMAIN: 3}
"""Of several masks the one with the lowest rank, which hides most, is taken."""

Tree = dict[str, Any]
Required = Mapping[str, Collection[str]]


def compile_data(
    access: AccessData,
    *,
    catalog: str,
    revision: int,
    issued_at_ns: int,
    max_age_s: int,
    owners: Mapping[str, str],
    required: Required | None = None,
    procedures: Iterable[str] = (),
) -> dict[str, Any]:
    """The data document of the bundle, indexed so that each decision is a lookup.

    Args:
        catalog: the catalog's name in Trino.
        revision: number of the published state, counted by the governor.
        issued_at_ns: when the bundle was signed, nanoseconds since the epoch.
        max_age_s: seconds after ``issued_at_ns`` from which everything is denied.
        owners: ``ns.table`` → the group that has all privileges on it.
        required: ``ns.table`` → columns that hold no null, as far as is known.
        procedures: the maintenance procedures that the catalog bears.

    Raises:
        UsageError: access data that validation would refuse (malformed object, unreadable predicate).
    """
    bundle = {
        "revision": revision,
        "issued_at_ns": issued_at_ns,
        "max_age_s": max_age_s,
        "mask_key": dataclasses.asdict(MASK_KEY),
    }
    return {
        BUNDLE_ROOT: {
            "catalog": catalog,
            "bundle": bundle,
            "access": _access(access, catalog, owners, required or {}),
            "maintenance": _maintenance(Holdings(access.grants, owners), procedures),
        },
    }


def _maintenance(holdings: Holdings, procedures: Iterable[str]) -> Tree:
    """What the maintaining service account may do, and where: on tables that some group may maintain."""
    tables: Tree = {}
    for held in holdings.tables.values():
        for table, privileges in held.items():
            if Privilege.MAINTAIN in privileges:
                namespace, _, name = table.rpartition(".")
                tables.setdefault(namespace, {})[name] = True
    namespaces = {
        namespace
        for held in holdings.namespaces.values()
        for namespace, privileges in held.items()
        if Privilege.MAINTAIN in privileges
    }
    return {
        "procedures": dict.fromkeys(sorted(procedures), True),
        "tables": tables,
        "namespaces": dict.fromkeys(sorted(namespaces), True),
    }


def _access(access: AccessData, catalog: str, owners: Mapping[str, str], required: Required) -> Tree:
    targets = rule_targets(access)
    rules = sorted(access.rules, key=lambda rule: rule.id)
    holdings = Holdings(access.grants, owners)
    named = {group for rule in rules for group in (*rule.exempt, *rule.values)}
    tree: Tree = {
        "groups": dict.fromkeys(sorted({*holdings.groups(), *named}), True),
        "grants": {group: _grants(holdings, group) for group in holdings.groups()},
        "filters": {},
        "masks": {},
        "denies": {},
        "protected": {},
        "filter_reads": {},
        "exceptions": {},
    }
    for rule in rules:
        for target in targets[rule.id]:
            _protect(tree["protected"], rule, target)
            if rule.kind is RuleKind.ROW_FILTER:
                _add_filter(tree, rule, target, catalog, required.get(target.name, ()))
            elif rule.kind is RuleKind.COLUMN_MASK:
                mask = _mask(rule)
                entry = {"id": rule.id, "mask": mask.value, "rank": MASK_RANK[mask]}
                _column(tree["masks"], target).append({**entry, "exempt": _exempt(rule)})
                if mask is Mask.HASH:
                    # The hash is made as that identity, which is asked for the column, too.
                    _read_by_filters(tree, target.name)
            else:
                _column(tree["denies"], target).append({"id": rule.id, "exempt": _exempt(rule)})
    for exception in sorted(access.exceptions):
        _add_exception(tree["exceptions"], exception, [rule.id for rule in rules])
    return tree


def _add_exception(tree: Tree, exception: AccessException, every_rule: Iterable[str]) -> None:
    """Files it by user, namespace and table (``*`` for all); Rego compares its end with the clock."""
    namespace, _, table = exception.object.lower().rpartition(".")
    lifts = every_rule if EVERY_RULE in exception.lifts else exception.lifts
    filed = tree.setdefault(exception.user, {}).setdefault(namespace, {}).setdefault(table, [])
    filed.append(
        {
            "id": exception.id,
            "expires_ns": int(exception.expires_at.timestamp()) * 10**9,
            "privileges": _flags(exception.privileges),
            "lifts": dict.fromkeys(sorted(lifts), True),
        }
    )


def _grants(holdings: Holdings, group: str) -> Tree:
    tables: Tree = {}
    for table, privileges in sorted(holdings.tables.get(group, {}).items()):
        namespace, _, name = table.rpartition(".")
        tables.setdefault(namespace, {})[name] = _flags(privileges)
    namespaces = {ns: _flags(held) for ns, held in sorted(holdings.namespaces.get(group, {}).items())}
    visible = dict.fromkeys(holdings.listed_namespaces(group), True)
    return {"tables": tables, "namespaces": namespaces, "visible": visible}


def _flags(privileges: Iterable[Privilege]) -> dict[str, bool]:
    return dict.fromkeys(sorted(p.value for p in privileges), True)


def _exempt(rule: Rule) -> dict[str, bool]:
    return dict.fromkeys(sorted(rule.exempt), True)


def _mask(rule: Rule) -> Mask:
    if rule.mask is None:
        raise UsageError(f"rule {rule.id!r} masks a column and names no mask", permitted=", ".join(Mask))
    return rule.mask


def _column(tree: Tree, target: Target) -> list[Any]:
    table = tree.setdefault(target.namespace, {}).setdefault(target.table, {})
    found: list[Any] = table.setdefault(target.column, [])
    return found


def _protect(tree: Tree, rule: Rule, target: Target) -> None:
    filed = tree.setdefault(target.namespace, {}).setdefault(target.table, [])
    entry = {"id": rule.id, "exempt": _exempt(rule)}
    if entry not in filed:
        filed.append(entry)


def _add_filter(tree: Tree, rule: Rule, target: Target, catalog: str, required: Collection[str]) -> None:
    expression = rule.expression or ""
    used = placeholders(expression)
    if "column" in used and target.column is None:
        raise UsageError(
            f"rule {rule.id!r} uses {{column}}, yet {target.name} is named without a column",
            value=expression,
            permitted="a tag on a column, or no {column}",
        )
    try:
        reads = tables_read(expression, catalog=catalog, namespace=target.namespace)
    except ValueError as error:
        raise UsageError(
            f"the expression of rule {rule.id!r} can't be used: {error}",
            value=expression,
            permitted="one Trino SQL predicate",
        ) from None
    filters = tree["filters"].setdefault(target.namespace, {}).setdefault(target.table, [])
    filters.append(
        {
            "id": rule.id,
            "exempt": _exempt(rule),
            "parts": parts(expression, catalog=catalog, column=target.column),
            "by_group": bool(rule.values) or "values" in used,
            "values": literals(rule.values),
            "as_filter_user": rule.as_filter_user,
            "guarded": guarded(expression, column=target.column, required=required),
        }
    )
    if rule.as_filter_user:
        for name in {target.name, *reads}:
            _read_by_filters(tree, name)


def _read_by_filters(tree: Tree, name: str) -> None:
    namespace, _, table = name.rpartition(".")
    tree["filter_reads"].setdefault(namespace, {})[table] = True


def read_rego(folder: Path) -> dict[str, str]:
    """The policy modules that go into the bundle: path in the bundle → source. Tests stay out."""
    return {
        f"{BUNDLE_ROOT}/{folder.name}/{path.name}": path.read_text()
        for path in sorted(folder.glob("*.rego"))
        if not path.name.endswith("_test.rego")
    }


def build_bundle(data: Mapping[str, Any], rego_sources: Mapping[str, str], signing_key_pem: str) -> bytes:
    """A signed ``tar.gz`` bundle; the same input gives the same bytes.

    Args:
        data: what :func:`compile_data` returns.
        rego_sources: path in the bundle → module (:func:`read_rego`).
        signing_key_pem: private RSA key.

    Raises:
        UsageError: data outside the bundle's root, or a file name the signature can't cover.
    """
    if set(data) != {BUNDLE_ROOT}:
        raise UsageError("a bundle's data has one root", value=sorted(data), permitted=BUNDLE_ROOT)
    manifest = {
        "revision": str(data[BUNDLE_ROOT]["bundle"]["revision"]),
        "roots": [BUNDLE_ROOT],
        "rego_version": 1,
    }
    files = {"data.json": _json(data), ".manifest": _json(manifest)}
    for path, source in sorted(rego_sources.items()):
        if not path.endswith(".rego") or path.startswith("/") or ".." in path.split("/"):
            raise UsageError("not a policy module's path in a bundle", value=path, permitted="dir/name.rego")
        files[path] = source.encode()
    return _archive(
        {**files, ".signatures.json": _json({"signatures": [_signature(files, signing_key_pem)]})}
    )


def _signature(files: Mapping[str, bytes], signing_key_pem: str) -> str:
    """OPA's signature: a JWT over the digest of each file.

    JSON files are digested by structure (v1/bundle/hash.go): braces, brackets, commas and colons around
    sorted keys and encoded values, which is compact JSON with sorted keys, as :func:`_json` writes it.
    """
    digests = [
        {"name": name, "hash": hashlib.sha256(content).hexdigest(), "algorithm": "SHA-256"}
        for name, content in sorted(files.items())
    ]
    return jwt.encode({"files": digests}, signing_key_pem, algorithm="RS256", headers={"kid": SIGNING_KEY_ID})


def _json(value: Any) -> bytes:
    """Compact JSON as Go's encoder writes it without HTML escaping: U+2028 and U+2029 are escaped."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").encode()


def _archive(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
