"""The engine's official provider plugins, which labs elsewhere than on this machine need, in the cache.

The engine installs them by itself where it reaches their vendor
(https://www.pulumi.com/docs/iac/concepts/providers/), into ``plugins`` below a PULUMI_HOME. From there they
are taken into the cache to be carried, and a lab's project names those that the cache has.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cli import virtualenv
from placements.local.artifacts.command import Cancellation
from placements.local.artifacts.store import Entry, install, locked, prepare_cache, problems

_PIN = re.compile(r"^pulumi-([a-z0-9-]+)==([0-9.]+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class ProviderPlugin:
    """One plugin in the version that its Python package has, with which it has to agree."""

    name: str
    version: str

    @property
    def folder_name(self) -> str:
        """Of its folder below a PULUMI_HOME's ``plugins``."""
        return f"resource-{self.name}-v{self.version}"

    @property
    def program(self) -> str:
        return f"pulumi-resource-{self.name}"

    def entry(self, cache: Path) -> Entry:
        """Its place in the cache."""
        fingerprint = hashlib.sha256(self.folder_name.encode()).hexdigest()
        return Entry(cache=cache.absolute(), name=self.program, version=self.version, fingerprint=fingerprint)


def cloud_plugins(root: Path) -> tuple[ProviderPlugin, ...]:
    """Those whose packages a checkout pins for labs elsewhere, and not for all labs: the checkout serves the
    others itself. None for a program of somebody's own that pins nothing."""
    files = {kind: root / virtualenv.REQUIREMENTS[kind] for kind in ("local", "cloud")}
    if not all(file.is_file() for file in files.values()):
        return ()
    pins = {kind: dict(_PIN.findall(file.read_text(encoding="utf-8"))) for kind, file in files.items()}
    names = sorted(pins["cloud"].keys() - pins["local"].keys())
    return tuple(ProviderPlugin(name=name, version=pins["cloud"][name]) for name in names)


def cached(root: Path, cache: Path) -> dict[str, Path]:
    """Folders in the cache of the plugins that it has, by the plugin's name."""
    entries = {plugin.name: plugin.entry(cache) for plugin in cloud_plugins(root)}
    return {name: entry.path for name, entry in entries.items() if not problems(entry, verify=False)}


def pulumi_homes(own: Path, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where plugins may have been installed: by a lab, and by whoever runs Pulumi by hand."""
    return own, Path(environ.get("PULUMI_HOME") or Path(environ.get("HOME") or Path.home()) / ".pulumi")


def ensure_cached(
    plugins: Sequence[ProviderPlugin], cache: Path, homes: Sequence[Path], say: Callable[[str], None]
) -> tuple[list[Entry], list[ProviderPlugin]]:
    """The entries of those plugins that the cache has, or has now since one of ``homes`` had them; and those
    that are nowhere."""
    entries, absent = [], []
    for plugin in plugins:
        entry = plugin.entry(cache)
        if problems(entry, verify=True):
            found = next((path for home in homes if (path := _installed(plugin, home))), None)
            if found is None:
                absent.append(plugin)
                continue
            say(f"taking the provider {plugin.name} {plugin.version} from {found.parent}")
            prepare_cache(cache)
            with locked(entry.lock, Cancellation(), lambda: None):
                install(entry, partial(shutil.copytree, found))
        entries.append(entry)
    return entries, absent


def _installed(plugin: ProviderPlugin, home: Path) -> Path | None:
    """Its folder below a PULUMI_HOME, where it is whole: the engine marks one that is not by a file."""
    folder = home / "plugins" / plugin.folder_name
    partly = folder.with_name(f"{folder.name}.partial").exists()
    return folder if not partly and os.access(folder / plugin.program, os.X_OK) else None
