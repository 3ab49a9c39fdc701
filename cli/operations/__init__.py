"""What the ``lab`` command does, as typed functions to use from Python.

Each takes a :class:`cli.session.Session`, returns a dataclass and raises ``contracts.errors.LabError``.
Names are loaded when first used, so that a quick command stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cli.conformance import verify
    from cli.operations.asking import agent_client
    from cli.operations.auditing import audit
    from cli.operations.backups import backup, list_backups, restore
    from cli.operations.building import build_images
    from cli.operations.bundling import bundle_images, load_images
    from cli.operations.carrying import export_cache, import_cache
    from cli.operations.cleaning import cache_contents, clean_cache
    from cli.operations.costing import cost
    from cli.operations.data import load, login, logout, seed, sql, token
    from cli.operations.development import lock_requirements, record_checksums, run_tests, write_templates
    from cli.operations.diagnosis import doctor
    from cli.operations.fingerprinting import fingerprint
    from cli.operations.imaging import list_images, lock_image_digests
    from cli.operations.inspect import components, credentials, env, logs, status
    from cli.operations.lifecycle import bootstrap, down, preview, refresh, up
    from cli.operations.maintaining import (
        change_maintenance_policy,
        maintain,
        maintenance_history,
        maintenance_policies,
        maintenance_policy_history,
        plan_maintenance,
    )
    from cli.operations.removal import destroy
    from cli.operations.rotating import rotate
    from cli.operations.spaces import (
        change_workspace,
        create_workspace,
        put_workspace_members,
        remove_workspace,
        take_workspace_members,
        workspace,
        workspace_members,
        workspaces,
    )
    from cli.operations.spark import (
        spark_client,
        spark_connection,
        spark_python,
        spark_sql,
        spark_submit,
    )

_MODULES = {
    "cli.conformance": ("verify",),
    "cli.operations.asking": ("agent_client",),
    "cli.operations.auditing": ("audit",),
    "cli.operations.backups": ("backup", "list_backups", "restore"),
    "cli.operations.building": ("build_images",),
    "cli.operations.bundling": ("bundle_images", "load_images"),
    "cli.operations.carrying": ("export_cache", "import_cache"),
    "cli.operations.cleaning": ("cache_contents", "clean_cache"),
    "cli.operations.costing": ("cost",),
    "cli.operations.data": ("load", "login", "logout", "seed", "sql", "token"),
    "cli.operations.development": (
        "lock_requirements",
        "record_checksums",
        "run_tests",
        "write_templates",
    ),
    "cli.operations.diagnosis": ("doctor",),
    "cli.operations.fingerprinting": ("fingerprint",),
    "cli.operations.imaging": ("list_images", "lock_image_digests"),
    "cli.operations.inspect": ("components", "credentials", "env", "logs", "status"),
    "cli.operations.lifecycle": ("bootstrap", "down", "preview", "refresh", "up"),
    "cli.operations.maintaining": (
        "change_maintenance_policy",
        "maintain",
        "maintenance_history",
        "maintenance_policies",
        "maintenance_policy_history",
        "plan_maintenance",
    ),
    "cli.operations.removal": ("destroy",),
    "cli.operations.rotating": ("rotate",),
    "cli.operations.spark": (
        "spark_client",
        "spark_connection",
        "spark_python",
        "spark_sql",
        "spark_submit",
    ),
    "cli.operations.spaces": (
        "change_workspace",
        "create_workspace",
        "put_workspace_members",
        "remove_workspace",
        "take_workspace_members",
        "workspace",
        "workspace_members",
        "workspaces",
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "agent_client",
    "audit",
    "backup",
    "bootstrap",
    "build_images",
    "bundle_images",
    "cache_contents",
    "change_maintenance_policy",
    "change_workspace",
    "clean_cache",
    "components",
    "cost",
    "create_workspace",
    "credentials",
    "destroy",
    "doctor",
    "down",
    "env",
    "export_cache",
    "fingerprint",
    "import_cache",
    "list_backups",
    "list_images",
    "load",
    "load_images",
    "lock_image_digests",
    "lock_requirements",
    "login",
    "logout",
    "logs",
    "maintain",
    "maintenance_history",
    "maintenance_policies",
    "maintenance_policy_history",
    "plan_maintenance",
    "preview",
    "put_workspace_members",
    "record_checksums",
    "refresh",
    "remove_workspace",
    "restore",
    "rotate",
    "run_tests",
    "seed",
    "spark_client",
    "spark_connection",
    "spark_python",
    "spark_sql",
    "spark_submit",
    "sql",
    "status",
    "take_workspace_members",
    "token",
    "up",
    "verify",
    "workspace",
    "workspace_members",
    "workspaces",
    "write_templates",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)
