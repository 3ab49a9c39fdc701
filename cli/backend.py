"""Where the state of a lab's stacks lies.

Unless LAB_BACKEND_URL says otherwise it is a file backend in the lab's own folder. The lab remembers the
choice in its Pulumi.yaml (``backend.url``: https://www.pulumi.com/docs/iac/concepts/projects/project-file/),
where ``pulumi`` by hand finds it too; state never moves by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import yaml

from contracts.errors import UsageError
from contracts.settings import NAMESPACE, environment

if TYPE_CHECKING:
    from cli.project import Lab

_FILE = "file://"


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
    asked = asked.rstrip("/")
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
