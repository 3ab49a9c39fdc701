"""The only reader of Pulumi config and of the environment (DESIGN §3).

Every setting is a row of :data:`SETTINGS`: documentation, the templates ``Pulumi.*.yaml`` and the
errors are made from it; a test fails when a row is undocumented.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.agent_settings import AGENT_SETTINGS
from contracts.cluster_settings import CLUSTER_SETTINGS
from contracts.errors import UsageError, unknown_name
from contracts.setting_values import LAB_NAME_PATTERN as LAB_NAME_PATTERN
from contracts.setting_values import LAB_NAME_RULE as LAB_NAME_RULE
from contracts.setting_values import PLACEMENTS as PLACEMENTS
from contracts.setting_values import Role as Role
from contracts.setting_values import Setting as Setting
from contracts.setting_values import choice as _choice
from contracts.setting_values import decimal as _decimal
from contracts.setting_values import folder as _folder
from contracts.setting_values import integer as _integer
from contracts.setting_values import interval as _interval
from contracts.setting_values import listed as _list
from contracts.setting_values import matching as _matching
from contracts.setting_values import misplaced as _misplaced
from contracts.setting_values import names as _names
from contracts.spark_settings import SPARK_SETTINGS

NAMESPACE = "lakehouse-lab"
"""Pulumi's project name and the namespace of its config keys."""

_NAME = _matching(LAB_NAME_PATTERN, LAB_NAME_RULE)
_BOTH = frozenset(Role)
_PERSISTENT = frozenset({Role.PERSISTENT})
_LAB = frozenset({Role.LAB})

SETTINGS: tuple[Setting, ...] = (
    Setting(
        key="role",
        roles=_BOTH,
        default="",
        example="lab",
        parse=_choice("persistent", "lab"),
        doc="Which stack this is: persistent (what is kept) or lab (what is rebuilt at will).",
    ),
    Setting(
        key="name",
        roles=_BOTH,
        default="lab",
        example="lab",
        parse=_NAME,
        doc="The lab's name; its slot in the persistent stack and its realm carry it.",
    ),
    Setting(
        key="placement",
        roles=_BOTH,
        default="local",
        example="local",
        parse=_choice(*PLACEMENTS),
        doc="Where workloads run.",
    ),
    Setting(
        key="home",
        roles=_BOTH,
        default="",
        example="~/.local/share/lakehouse-lab/lab",
        parse=str,
        doc="The lab's own folder for state, data and logs. Empty: LAB_HOME/<name>.",
    ),
    Setting(
        key="portBase",
        roles=_BOTH,
        default="28000",
        example="28000",
        parse=_integer(1024, 65000),
        doc="First port of this lab's block of 200 loopback ports: of its services (local) or of the tunnels "
        "to them (kubernetes, aws).",
    ),
    Setting(
        key="catalog",
        roles=_BOTH,
        default="nessie",
        example="polaris",
        parse=_choice("polaris", "nessie"),
        doc="The Iceberg REST catalog. The persistent stack pins it; the lab stack must name the same one.",
    ),
    Setting(
        key="polarisHome",
        roles=_LAB,
        default="",
        example="~/polaris-1.7.0",
        parse=_folder,
        doc="Folder with Polaris' unpacked official distribution, which is run where it lies on placement "
        "local. LAB_POLARIS_HOME wins, and `lab up` keeps it here. Empty: the distribution is fetched.",
    ),
    Setting(
        key="warehousePrefix",
        roles=_PERSISTENT,
        default="warehouse",
        example="warehouse",
        parse=_matching(r"[a-z0-9][a-z0-9/_-]{0,62}", "a key prefix without leading or trailing slash"),
        doc="Prefix of Iceberg data in the warehouse bucket.",
    ),
    Setting(
        key="peopleRotation",
        roles=_BOTH,
        default="0",
        example="1",
        parse=_integer(0, 1_000_000),
        doc="Another number makes new passwords of the sample users and ends their sign-ins; "
        "`lab rotate people` takes the next one.",
    ),
    Setting(
        key="keysRotation",
        roles=_PERSISTENT,
        default="0",
        example="1",
        parse=_integer(0, 1_000_000),
        doc="Another number makes new secrets and signing keys of the services; `lab rotate keys` takes the "
        "next one.",
    ),
    Setting(
        key="persistentStack",
        roles=_LAB,
        default="organization/lakehouse-lab/persistent",
        example="organization/lakehouse-lab/persistent",
        parse=_matching(r"[^/\s]+/[^/\s]+/[^/\s]+", "organization/project/stack"),
        doc="The persistent stack whose outputs this lab reads.",
    ),
    Setting(
        key="components",
        roles=_LAB,
        default="trino",
        example="trino,spark",
        parse=_names,
        doc="The saved set: components beside the core, separated by commas.",
    ),
    Setting(
        key="scaleFactor",
        roles=_LAB,
        default="0.1",
        example="0.1",
        parse=_decimal(0.001, 1000.0),
        doc="TPC-H scale factor of the sample tables in retail (1 is about 1 GB of text).",
    ),
    Setting(
        key="sampleData",
        roles=_LAB,
        default="true",
        example="true",
        parse=_choice("true", "false"),
        doc="Whether sample tables are seeded.",
    ),
    Setting(
        key="closedNamespaces",
        roles=_LAB,
        default="hr",
        example="hr,finance",
        parse=_names,
        doc="Nessie: namespaces that no raw engine may touch, whatever its user is granted there.",
    ),
    Setting(
        key="consoleConnectTo",
        roles=_LAB,
        default="",
        example="10.1.0.0/16,crm.internal:5432",
        parse=_list,
        doc="Hosts, addresses and networks (with :port or without) that connections in the console may lead "
        "to although they are this machine, link-local or a service of the lab's.",
    ),
    Setting(
        key="consoleFileRoots",
        roles=_LAB,
        default="",
        example="/data/incoming",
        parse=_list,
        doc="Folders of the console's machine that connections in the console may read.",
    ),
    Setting(
        key="bundleMaxAgeS",
        roles=_LAB,
        default="3600",
        example="3600",
        parse=_integer(120, 86400),
        doc="Seconds after which an access bundle that was not signed anew denies everything.",
    ),
    Setting(
        key="exceptionMaxS",
        roles=_LAB,
        default="28800",
        example="3600",
        parse=_integer(60, 604800),
        doc="Seconds that an exception (lab access break-glass) may last at most.",
    ),
    Setting(
        key="trinoHeapMib",
        roles=_LAB,
        default="1024",
        example="2048",
        parse=_integer(640, 262144),
        doc="Trino's Java heap in MiB.",
    ),
    *SPARK_SETTINGS,
    Setting(
        key="auditRetentionDays",
        roles=_LAB,
        default="90",
        example="365",
        parse=_integer(2, 3650),
        doc="Days that lines of the audit (lab audit) are kept; older ones are removed.",
    ),
    Setting(
        key="auditSpoolMib",
        roles=_LAB,
        default="256",
        example="1024",
        parse=_integer(8, 65536),
        doc="MiB of disk for audit records that wait for the governance database; beyond it they are refused "
        "and the audit says so.",
    ),
    *AGENT_SETTINGS,
    Setting(
        key="maintainEveryS",
        roles=_LAB,
        default="900",
        example="3600",
        parse=_interval,
        doc="Seconds between looks at which tables are due for maintenance (lab maintain); 0 turns the "
        "schedule off.",
    ),
    Setting(
        key="maintenanceMinRetentionDays",
        roles=_LAB,
        default="7",
        example="14",
        parse=_integer(1, 3650),
        doc="Days that snapshots and files without a snapshot are kept at least, whatever a policy or a "
        "statement says. Longer than any read or write by an engine other than Trino takes.",
    ),
    # A new setting's row goes here.
    *CLUSTER_SETTINGS,
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One stack's settings, checked. ``values`` holds every one by its key, as its row parsed it; what only
    one component reads needs no field of its own."""

    role: Role
    name: str
    placement: str
    home: Path
    port_base: int
    catalog: str
    polaris_home: Path | None
    warehouse_prefix: str
    persistent_stack: str
    components: tuple[str, ...]
    scale_factor: float
    sample_data: bool
    closed_namespaces: tuple[str, ...]
    bundle_max_age_s: int
    exception_max_s: int
    trino_heap_mib: int
    values: Mapping[str, Any]


def read_settings(config: Mapping[str, str], environ: Mapping[str, str] | None = None) -> Settings:
    """Checks one stack's config (keys without namespace) and fills in defaults.

    Raises:
        UsageError: an unknown key (nearest suggested), a wrong type or range (example given).
    """
    known = {setting.key: setting for setting in SETTINGS}
    for key in config:
        if key not in known:
            raise unknown_name("setting", key, known, next_command=f"pulumi config rm {key}")
    values = {key: _value(setting, config.get(key)) for key, setting in known.items()}
    role = Role(values["role"])
    for key in config:
        if role not in known[key].roles:
            raise UsageError(
                f"setting {key!r} does not belong to the {role} stack",
                value=None if known[key].secret else config[key],
                permitted=f"on the {'/'.join(sorted(known[key].roles))} stack",
                next_command=f"pulumi config rm {key}",
            )
    home = Path(values["home"]).expanduser() if values["home"] else lab_home(values["name"], environ)
    return Settings(
        role=role,
        name=values["name"],
        placement=values["placement"],
        home=home,
        port_base=values["portBase"],
        catalog=values["catalog"],
        polaris_home=polaris_home(values["polarisHome"], environ),
        warehouse_prefix=values["warehousePrefix"],
        persistent_stack=values["persistentStack"],
        components=values["components"],
        scale_factor=values["scaleFactor"],
        sample_data=values["sampleData"] == "true",
        closed_namespaces=values["closedNamespaces"],
        bundle_max_age_s=values["bundleMaxAgeS"],
        exception_max_s=values["exceptionMaxS"],
        trino_heap_mib=values["trinoHeapMib"],
        values=values,
    )


def refuse_misplaced(config: Mapping[str, str], *, next_command: str = "") -> None:
    """Raises UsageError for a setting in one stack's checked config that its placement does not read and that
    would be ignored. One with its default value asks for nothing."""
    found = _misplaced(SETTINGS, config)
    if found is not None:
        raise UsageError(
            f"setting {found.key!r} does nothing on placement {config.get('placement', PLACEMENTS[0])!r}",
            value=None if found.secret else config[found.key],
            permitted=f"on placement {' or '.join(found.placements)}",
            next_command=next_command or f"pulumi config rm {found.key} -s {config['role']}",
        )


def program_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of the stack that a Pulumi program runs for: the engine hands a program its config in
    ``PULUMI_CONFIG``, a JSON object keyed ``project:key``."""
    env = os.environ if environ is None else environ
    document: dict[str, str] = json.loads(env.get("PULUMI_CONFIG") or "{}")
    prefix = f"{NAMESPACE}:"
    own = {key.removeprefix(prefix): text for key, text in document.items() if key.startswith(prefix)}
    encrypted: list[str] = json.loads(env.get("PULUMI_CONFIG_SECRET_KEYS") or "[]")
    for setting in SETTINGS:
        if setting.secret and own.get(setting.key) and f"{prefix}{setting.key}" not in encrypted:
            raise UsageError(
                f"setting {setting.key!r} holds a secret and is kept in plain text",
                permitted="a value that is encrypted in the stack's file",
                next_command=f"pulumi config set --secret {setting.key}",
            )
    settings = read_settings(own, env)
    refuse_misplaced(own)
    return settings


def _value(setting: Setting, text: str | None) -> Any:
    given = setting.default if text is None else text
    if given == "" and setting.key == "home":
        return ""
    try:
        return setting.parse(given)
    except ValueError as error:
        raise UsageError(
            f"setting {setting.key!r} is not valid",
            value=None if setting.secret else given,
            permitted=str(error),
            next_command=f"pulumi config set {'--secret ' if setting.secret else ''}"
            f"{setting.key} {setting.example}",
        ) from None


def labs_home(environ: Mapping[str, str] | None = None) -> Path:
    """The folder of all labs: ``LAB_HOME``, else ``lakehouse-lab`` in the user's data folder."""
    env = os.environ if environ is None else environ
    if env.get("LAB_HOME"):
        return Path(env["LAB_HOME"]).expanduser().absolute()
    data = env.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser().absolute() / "lakehouse-lab"


def lab_home(name: str, environ: Mapping[str, str] | None = None) -> Path:
    """The folder of one lab."""
    return labs_home(environ) / name


def cache_home(environ: Mapping[str, str] | None = None) -> Path:
    """The per-user artifact cache: ``LAB_CACHE``, else ``lakehouse-lab`` in the user's cache folder."""
    env = os.environ if environ is None else environ
    if env.get("LAB_CACHE"):
        return Path(env["LAB_CACHE"]).expanduser().absolute()
    cache = env.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().absolute() / "lakehouse-lab"


def polaris_home(remembered: str, environ: Mapping[str, str] | None = None) -> Path | None:
    """The folder in which the user has Polaris unpacked: ``LAB_POLARIS_HOME``, else the value of the
    setting ``polarisHome``; None when neither is given."""
    value = environment("LAB_POLARIS_HOME", environ) or remembered
    return Path(value).expanduser().absolute() if value else None


ENVIRONMENT: Mapping[str, str] = {
    "LAB_HOME": "Folder of all labs (state, data, logs); default: lakehouse-lab in the user's data folder.",
    "LAB_CACHE": "Folder of artifacts shared by all labs; default: lakehouse-lab in the user's cache folder.",
    "LAB_NAME": "The lab that commands act on when --name is not given; default: lab.",
    "LAB_POLARIS_HOME": "Folder with Polaris' official server and admin distributions; a lab remembers it.",
    "LAB_AGENT_MODEL_KEY": "API key of the agent's model; `lab up` keeps it in the lab's folder (0600).",
    "LAB_AGENT_MODEL_KEY_FILE": "File with that key; default: the one in the lab's folder.",
    "LAB_BACKEND_URL": "Pulumi state backend of a new lab, which remembers it; default: in the lab's folder.",
    "LAB_SHARES": "For a new lab: the lab whose persistent stack has a slot for it; default: none.",
    "LAB_SECRETS_PROVIDER": "Key of a new lab's state, such as awskms://…; default: a passphrase.",
    "LAB_GUARDRAILS_CONFIG": "JSON file with the configuration of policies/guardrails; default: none.",
    "LAB_DIRECT_LOGIN": "Set to 1 to print the sign-in address instead of opening a browser.",
}
"""Every environment variable that the lab itself reads."""


def environment(name: str, environ: Mapping[str, str] | None = None) -> str | None:
    """The value of one of :data:`ENVIRONMENT`, None when unset or empty."""
    if name not in ENVIRONMENT:
        raise unknown_name("environment variable", name, ENVIRONMENT)
    env = os.environ if environ is None else environ
    return env.get(name) or None
