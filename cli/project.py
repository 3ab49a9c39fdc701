"""One lab's own project directory: what Pulumi runs in, apart from the checkout (DESIGN §3).

Layout below the lab's home: ``project/`` (Pulumi.yaml and stack files), ``state/`` (file backend),
``pulumi/`` (PULUMI_HOME), ``secrets/passphrase``. The tracked ``Pulumi.*.yaml`` of the checkout are
templates that are copied once; afterwards only keys a user changes change.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cli.backend import backend_url, own_backend_url, remember_secrets_provider
from contracts.errors import LabError, UsageError
from contracts.settings import (
    ENVIRONMENT,
    LAB_NAME_PATTERN,
    LAB_NAME_RULE,
    NAMESPACE,
    SETTINGS,
    Role,
    Settings,
    cache_home,
    environment,
    lab_home,
    labs_home,
    read_settings,
)
from plugins.install import PLUGINS
from plugins.install import install as install_plugins

ROOT = Path(__file__).resolve().parent.parent
"""The checkout that this command belongs to."""


SHARING_STACK = f"{Role.LAB}-"
"""What the names of lab stacks that share another lab's persistent stack begin with."""


@dataclass(frozen=True, kw_only=True)
class Lab:
    """Where one lab is. ``root`` is the checkout, ``cache`` the per-user artifact cache."""

    name: str
    home: Path
    root: Path
    cache: Path

    @property
    def project_dir(self) -> Path:
        return self.home / "project"

    @property
    def state_dir(self) -> Path:
        return self.home / "state"

    @property
    def pulumi_home(self) -> Path:
        return self.home / "pulumi"

    @property
    def launchers_dir(self) -> Path:
        """Executables by which the engine finds the provider plugins of the checkout."""
        return self.home / "pulumi" / "launchers"

    @property
    def secrets_dir(self) -> Path:
        return self.home / "secrets"

    @property
    def passphrase_file(self) -> Path:
        return self.secrets_dir / "passphrase"

    @property
    def model_key_file(self) -> Path:
        """The API key of the agent's model, where one was given."""
        return self.secrets_dir / "agent-model-key"

    @property
    def logs_dir(self) -> Path:
        return self.home / "logs"

    @property
    def exists(self) -> bool:
        """Whether its project has been made."""
        return (self.project_dir / "Pulumi.yaml").exists()

    @property
    def owner_file(self) -> Path:
        """Names the lab whose persistent stack has this lab's slot; absent where it has one of its own."""
        return self.project_dir / "owner"

    @property
    def owner(self) -> str | None:
        """The lab whose persistent stack this one shares; None: it has one of its own."""
        try:
            return self.owner_file.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None

    @property
    def own_roles(self) -> tuple[Role, ...]:
        """The stacks that this lab makes, changes and removes."""
        return (Role.LAB,) if self.owner else tuple(Role)

    def stack_name(self, role: Role) -> str:
        """The stack's name in its backend: its role. A lab that shares another's persistent stack lies in the
        same backend, and its lab stack has the lab's name added."""
        return f"{SHARING_STACK}{self.name}" if self.owner and role is Role.LAB else role.value

    def stack_file(self, role: Role) -> Path:
        """Pulumi.<stack>.yaml. Of a persistent stack that is another lab's: as its last run had it."""
        return self.project_dir / f"Pulumi.{self.stack_name(role)}.yaml"

    def require(self) -> None:
        """Raises LabError unless the lab has been made."""
        if not self.exists:
            raise LabError(
                f"there is no lab named {self.name!r} under {self.home.parent}",
                permitted=", ".join(existing_labs(self.home.parent)) or "none was made yet",
                next_command=f"lab{'' if self.name == 'lab' else f' --name {self.name}'} up",
            )


def open_lab(name: str | None = None, environ: Mapping[str, str] | None = None, root: Path = ROOT) -> Lab:
    """The lab named ``name``, else by LAB_NAME, else ``lab``. Nothing is made.

    Raises:
        UsageError: the name is not valid.
    """
    chosen = name or environment("LAB_NAME", environ) or "lab"
    if not re.fullmatch(LAB_NAME_PATTERN, chosen):
        raise UsageError(
            "a lab's name is not valid",
            value=chosen,
            permitted=LAB_NAME_RULE,
            next_command="lab --name team-a status",
        )
    return Lab(name=chosen, home=lab_home(chosen, environ), root=root, cache=cache_home(environ))


def existing_labs(folder: Path) -> list[str]:
    """Names of the labs that were made under ``folder``, sorted."""
    if not folder.is_dir():
        return []
    return sorted(path.parent.parent.name for path in folder.glob("*/project/Pulumi.yaml"))


def ensure_project(
    lab: Lab, *, virtualenv: Path, port_base: int, backend: str | None = None, secrets_key: str | None = None
) -> bool:
    """Makes the project directory, or brings its Pulumi.yaml up to date (the checkout or the virtual
    environment may have moved). Stack files are made once. Returns whether the lab is new.

    Args:
        backend: where the stacks' state lies; None leaves it where it is.
        secrets_key: URL of the key that encrypts secrets in it; None leaves that as it is.
    """
    new = not lab.exists
    backend = backend or backend_url(lab, {})
    for folder in (lab.home, lab.project_dir, lab.state_dir, lab.pulumi_home, lab.logs_dir):
        folder.mkdir(parents=True, exist_ok=True)
    lab.secrets_dir.mkdir(mode=0o700, exist_ok=True)
    if passphrase_is_lost(lab):
        raise LabError(
            "the passphrase of this lab's state is gone",
            value=str(lab.passphrase_file),
            permitted="the file as it was when the lab was made",
            next_command="put it back from a backup, else lab destroy",
        )
    if not _has_passphrase(lab):
        write_private(lab.passphrase_file, secrets.token_urlsafe(32))
    # Of two stack files one may be there already: an earlier run was ended in between.
    begun = half_made_port_base(lab)
    for role in lab.own_roles:
        if not lab.stack_file(role).exists():
            _make_stack_file(lab, role, begun or port_base)
    if secrets_key:
        remember_secrets_provider(lab, secrets_key)
    _write_if_changed(lab.project_dir / "Pulumi.yaml", _project_yaml(lab, virtualenv, backend))
    install_plugins(lab.launchers_dir, virtualenv / "bin" / "python")
    return new


def _has_passphrase(lab: Lab) -> bool:
    return lab.passphrase_file.exists() and lab.passphrase_file.stat().st_size > 0


def passphrase_is_lost(lab: Lab) -> bool:
    """Whether there is state that was encrypted with a passphrase which is not there any more."""
    if _has_passphrase(lab):
        return False
    # The salt stands beside the state wherever that lies; the state alone has it after a lost stack file.
    files = [lab.stack_file(role) for role in Role]
    salted = any("encryptionsalt:" in file.read_text(encoding="utf-8") for file in files if file.exists())
    return salted or any((lab.state_dir / ".pulumi" / "stacks").glob("*/*.json"))


def half_made_port_base(lab: Lab) -> int | None:
    """The block of ports in a stack file that is there already; None when none is."""
    for role in lab.own_roles:
        if lab.stack_file(role).exists():
            base = read_config(lab, role).get("portBase", "")
            return int(base) if base.isdecimal() else None
    return None


def _project_yaml(lab: Lab, virtualenv: Path, backend: str) -> str:
    from cli.provider_plugins import cached

    providers = dict.fromkeys(PLUGINS, lab.launchers_dir) | cached(lab.root, lab.cache)
    document: dict[str, Any] = {
        "name": NAMESPACE,
        "description": f"Lakehouse Lab {lab.name!r}; made by the lab command, which keeps it up to date",
        "main": str(lab.root),
        "runtime": {"name": "python", "options": {"virtualenv": str(virtualenv)}},
        # Named here they are used without a warning; one that is only on PATH gets one at each run.
        "plugins": {"providers": [{"name": name, "path": str(path)} for name, path in providers.items()]},
    }
    if backend != own_backend_url(lab):
        document["backend"] = {"url": backend}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1000)


def _make_stack_file(lab: Lab, role: Role, port_base: int) -> None:
    template = lab.root / f"Pulumi.{role.value}.yaml"
    text = template.read_text(encoding="utf-8") if template.exists() else "config:\n"
    values = {"role": role.value, "name": lab.name, "home": str(lab.home), "portBase": str(port_base)}
    for key, value in values.items():
        text = with_config_value(text, key, value)
    _write_if_changed(lab.stack_file(role), text)


def read_config(lab: Lab, role: Role) -> dict[str, str]:
    """The stack's config without namespace, as ``contracts.settings.read_settings`` wants it."""
    return parse_config(lab.stack_file(role).read_text(encoding="utf-8"))


def parse_config(text: str) -> dict[str, str]:
    """Keys of this project in a stack file's text. Encrypted values and other namespaces are left out."""
    document = yaml.safe_load(text) or {}
    found: dict[str, str] = {}
    for key, value in (document.get("config") or {}).items():
        namespace, _, name = str(key).partition(":")
        if namespace == NAMESPACE and not isinstance(value, Mapping):
            found[name] = ("true" if value else "false") if isinstance(value, bool) else str(value)
    return found


def settings(lab: Lab, role: Role, environ: Mapping[str, str] | None = None) -> Settings:
    """The stack's checked settings. Raises UsageError as ``read_settings``."""
    return read_settings(read_config(lab, role), environ)


def set_config(lab: Lab, role: Role, key: str, value: str) -> bool:
    """Sets one key in the stack file and leaves every other line as it is. Returns whether it changed.

    Raises:
        LabError: the stack is another lab's.
    """
    require_own(lab, role)
    path = lab.stack_file(role)
    before = path.read_text(encoding="utf-8")
    after = with_config_value(before, key, value)
    if after != before:
        read_settings(parse_config(after))
    return _write_if_changed(path, after)


def require_own(lab: Lab, role: Role) -> None:
    """Raises LabError for a stack that is not this lab's to make, change or remove."""
    if role not in lab.own_roles:
        raise LabError(
            f"the persistent stack that lab {lab.name!r} shares is another lab's",
            value=lab.name,
            permitted=f"lab {lab.owner!r}, which owns it",
            next_command=f"lab --name {lab.owner} bootstrap",
        )


def with_config_value(text: str, key: str, value: str) -> str:
    """``text`` of a stack file with one key of this project set, comments kept."""
    if key not in {setting.key for setting in SETTINGS}:
        raise UsageError(f"there is no setting named {key!r}", value=key)
    quoted = yaml.safe_dump(value, default_style='"', width=100000).strip()
    line = f"  {NAMESPACE}:{key}: {quoted}"
    # A key that is set, else the template's comment that shows its default.
    for mark in ("", "# ?"):
        present = re.compile(rf"^[ \t]+{mark}{re.escape(NAMESPACE)}:{re.escape(key)}:.*$", re.MULTILINE)
        if present.search(text):
            return present.sub(lambda _: line, text, count=1)
    if re.search(r"^config:[ \t]*(\{\})?[ \t]*$", text, flags=re.MULTILINE):
        return re.sub(
            r"^config:[ \t]*(\{\})?[ \t]*$", lambda _: f"config:\n{line}", text, count=1, flags=re.MULTILINE
        )
    return text + ("" if text.endswith("\n") or not text else "\n") + f"config:\n{line}\n"


def write_private(path: Path, content: str) -> None:
    """Replaces ``path`` in one step with a file only its owner may read, which is on the disk before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            # A power cut must not leave an empty passphrase under a state that needs it.
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _write_if_changed(path: Path, text: str) -> bool:
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    write_private(path, text)
    return True


def program_environment(lab: Lab, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What the program and the engine need in their environment, beside what ``Engine.environment`` of
    the toolchain adds (PATH, PULUMI_HOME)."""
    env = os.environ if environ is None else environ
    python_path = [part for part in env.get("PYTHONPATH", "").split(os.pathsep) if part]
    values = {
        "PYTHONPATH": os.pathsep.join([str(lab.root), *(p for p in python_path if p != str(lab.root))]),
        "PULUMI_BACKEND_URL": backend_url(lab, environ),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(lab.passphrase_file),
        "LAB_HOME": str(labs_home(environ)),
        "LAB_CACHE": str(lab.cache),
        "LAB_NAME": lab.name,
    }
    for name in ENVIRONMENT:
        if name not in values and (value := environment(name, environ)) is not None:
            values[name] = value
    # What `lab env` prints names a file instead.
    if values.pop("LAB_AGENT_MODEL_KEY", None) or lab.model_key_file.exists():
        values["LAB_AGENT_MODEL_KEY_FILE"] = str(lab.model_key_file)
    if "LAB_POLARIS_HOME" in values:
        # The program runs in the lab's project folder.
        values["LAB_POLARIS_HOME"] = str(Path(values["LAB_POLARIS_HOME"]).expanduser().absolute())
    return values


def shell_lines(lab: Lab, values: Mapping[str, str]) -> list[str]:
    """``cd`` and exports for ``eval "$(./lab env)"``, quoted for a POSIX shell."""
    return [
        f"cd {shlex.quote(str(lab.project_dir))}",
        *(f"export {name}={shlex.quote(value)}" for name, value in values.items()),
        # It would win over the passphrase file.
        "unset PULUMI_CONFIG_PASSPHRASE",
    ]
