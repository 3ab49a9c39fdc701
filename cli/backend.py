"""Where the state of a lab's stacks lies, and what encrypts the secrets in it.

Unless LAB_BACKEND_URL says otherwise it is a file backend in the lab's own folder. The lab remembers the
choice in its Pulumi.yaml (``backend.url``: https://www.pulumi.com/docs/iac/concepts/projects/project-file/),
where ``pulumi`` by hand finds it too; state never moves by itself. Secrets in it are encrypted by a
passphrase in the lab's folder unless LAB_SECRETS_PROVIDER names a key of a cloud; each stack's file remembers
it (``secretsprovider``: https://www.pulumi.com/docs/iac/concepts/secrets/).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import yaml

from contracts.errors import UsageError
from contracts.settings import NAMESPACE, Role, environment

if TYPE_CHECKING:
    from cli.project import Lab

_FILE = "file://"
_KEYS = ("awskms://", "azurekeyvault://", "gcpkms://", "hashivault://")
"""What the engine can encrypt with beside a passphrase."""


def backend_url(lab: Lab, environ: Mapping[str, str] | None = None) -> str:
    """The URL that Pulumi gets as PULUMI_BACKEND_URL.

    Raises:
        UsageError: LAB_BACKEND_URL is no backend, or another one than the lab's state lies in.
    """
    asked = environment("LAB_BACKEND_URL", environ)
    made = _made_in(lab)
    if asked is None:
        return made or own_backend_url(lab)
    if "://" not in asked or (asked.startswith(_FILE) and not asked.startswith((f"{_FILE}/", f"{_FILE}~"))):
        raise UsageError(
            "LAB_BACKEND_URL is not the URL of a state backend",
            value=asked,
            permitted="file:///FOLDER, s3://BUCKET, gs://BUCKET, azblob://CONTAINER or https://HOST",
            next_command="unset LAB_BACKEND_URL",
        )
    place, mark, options = asked.partition("?")
    asked = f"{place.rstrip('/')}{mark}{options}"
    if made is not None and made != asked:
        raise UsageError(
            f"the state of lab {lab.name!r} lies elsewhere than LAB_BACKEND_URL says",
            value=asked,
            permitted=made,
            next_command="unset LAB_BACKEND_URL, since the lab remembers it; or lab --name OTHER up",
        )
    return asked


def file_backend(lab: Lab, environ: Mapping[str, str] | None = None) -> Path | None:
    """The folder whose ``.pulumi`` holds locks and checkpoints; None where the backend is no folder."""
    url = backend_url(lab, environ)
    if not url.startswith(_FILE):
        return None
    return Path(unquote(urlsplit(url).netloc + urlsplit(url).path)).expanduser()


def own_backend_url(lab: Lab) -> str:
    """The file backend in the lab's folder."""
    return f"{_FILE}{lab.state_dir}"


def secrets_provider(lab: Lab, environ: Mapping[str, str] | None = None) -> str | None:
    """The URL of the key that encrypts the secrets in the lab's state; None: the passphrase in its folder.

    Raises:
        UsageError: LAB_SECRETS_PROVIDER is no such key, or another one than the state is encrypted with.
    """
    asked = environment("LAB_SECRETS_PROVIDER", environ)
    made = _encrypted_with(lab)
    if asked is None:
        return made or None
    if not asked.startswith(_KEYS) or len(asked.partition("://")[2]) == 0:
        raise UsageError(
            "LAB_SECRETS_PROVIDER is not the URL of a key",
            value=asked,
            permitted="awskms://alias/NAME?region=REGION, gcpkms://…, azurekeyvault://… or hashivault://…",
            next_command="unset LAB_SECRETS_PROVIDER",
        )
    if made is not None and made != asked:
        raise UsageError(
            f"the state of lab {lab.name!r} is encrypted otherwise than LAB_SECRETS_PROVIDER says",
            value=asked,
            permitted=made or "the passphrase in its folder",
            next_command="unset LAB_SECRETS_PROVIDER, since the lab remembers it; to change it: "
            "pulumi stack change-secrets-provider, by hand for both stacks",
        )
    return asked


def remember_secrets_provider(lab: Lab, url: str) -> None:
    """Notes in the files of stacks that are not encrypted yet which key is to encrypt them."""
    for role in lab.own_roles:
        path = lab.stack_file(role)
        text = path.read_text(encoding="utf-8")
        if _encryption_of(text) is None:
            path.write_text(f"{text.rstrip()}\nsecretsprovider: {url}\n", encoding="utf-8")


def _encrypted_with(lab: Lab) -> str | None:
    """The URL of the key, empty for a passphrase, None where nothing is encrypted yet."""
    for role in Role:
        path = lab.stack_file(role)
        found = _encryption_of(path.read_text(encoding="utf-8")) if path.exists() else None
        if found is not None:
            return found
    return None


def _encryption_of(text: str) -> str | None:
    document = yaml.safe_load(text) or {}
    if url := document.get("secretsprovider"):
        return "" if url in ("default", "passphrase") else str(url)
    return "" if "encryptionsalt" in document else None


def _made_in(lab: Lab) -> str | None:
    """The backend that holds state of the lab already, None when none can."""
    try:
        document = yaml.safe_load((lab.project_dir / "Pulumi.yaml").read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        return None
    remembered = (document.get("backend") or {}).get("url")
    if remembered:
        return str(remembered)
    made = any((lab.state_dir / ".pulumi" / "stacks" / NAMESPACE).glob("*.json"))
    return own_backend_url(lab) if made else None
