"""Images of the lab: what each holds, and the digest it has in a registry
(https://github.com/opencontainers/distribution-spec)."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from contracts.errors import LabError, UsageError
from contracts.versions import IMAGES

_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_REGISTRY = re.compile(r"(https?://)?[a-z0-9][a-z0-9.-]*(:\d+)?(/[a-z0-9][a-z0-9._-]*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, kw_only=True)
class ImageRow:
    """One image. ``reference`` is by digest, None where none is known."""

    name: str
    artifacts: tuple[str, ...]
    source: tuple[str, ...]
    reference: str | None


@dataclass(frozen=True, kw_only=True)
class LockedImages:
    """The file that was written and what stands in it."""

    file: str
    references: Mapping[str, str]


def list_images(file: Path | None = None) -> tuple[ImageRow, ...]:
    """All images, with their references of ``file`` where one is given. Raises UsageError when it is not
    usable."""
    from placements.kubernetes.images import image_references

    references = image_references(file)
    return tuple(
        ImageRow(
            name=image.name,
            artifacts=image.artifacts,
            source=image.source,
            reference=references.get(image.name),
        )
        for image in IMAGES.values()
    )


def lock_image_digests(
    registry: str,
    tag: str,
    file: Path,
    say: Callable[[str], None],
    *,
    environ: Mapping[str, str] | None = None,
    transport: httpx.BaseTransport | None = None,
) -> LockedImages:
    """Reads the digest that ``tag`` has now of every image below ``registry`` (``HOST[:PORT]/PREFIX``; with
    ``http://`` for one without TLS), and writes the references to ``file``. A digest is computed from the
    manifest, not taken from the answer's header. Credentials are those of ``docker login`` for the host.

    Raises:
        UsageError: registry or tag is not understood.
        LabError: an image can't be read; nothing was written.
    """
    if not _REGISTRY.fullmatch(registry):
        raise UsageError(
            "the registry is not understood",
            value=registry,
            permitted="HOST[:PORT][/PREFIX], http:// before it",
        )
    if not _TAG.fullmatch(tag):
        raise UsageError("the tag is not understood", value=tag, permitted="letters, digits, and . _ - in it")
    url = urlsplit(registry if "://" in registry else f"https://{registry}")
    prefix = url.path.strip("/")
    known = _credentials(url.netloc, os.environ if environ is None else environ)
    references = {}
    with httpx.Client(timeout=30.0, transport=transport, follow_redirects=True) as client:
        for name in IMAGES:
            repository = f"{prefix}/{name}".strip("/")
            say(f"reading {repository}:{tag}")
            digest = _digest(client, f"{url.scheme}://{url.netloc}", repository, tag, known)
            references[name] = f"{url.netloc}/{repository}@{digest}"
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(references, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        fresh.replace(file)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise LabError(f"the references can't be written: {error}", value=str(file)) from error
    return LockedImages(file=str(file), references=references)


def _digest(
    client: httpx.Client, base: str, repository: str, tag: str, credentials: tuple[str, str] | None
) -> str:
    url, headers = f"{base}/v2/{repository}/manifests/{tag}", {"Accept": _MANIFESTS}
    try:
        answer = client.get(url, headers=headers)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            authorization = _authorization(client, answer, repository, credentials)
            answer = client.get(url, headers={**headers, "Authorization": authorization})
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise LabError(
            f"image {repository}:{tag} can't be read: {error}",
            value=base,
            permitted="a registry that holds all of the lab's images under this tag",
            next_command="docker login HOST, where it wants to know who asks",
        ) from error
    found = f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
    promised = answer.headers.get("Docker-Content-Digest", found)
    if promised != found:
        raise LabError(
            f"the registry sent another manifest of {repository}:{tag} than it says",
            value=found,
            permitted=promised,
        )
    return found


def _authorization(
    client: httpx.Client, refusal: httpx.Response, repository: str, credentials: tuple[str, str] | None
) -> str:
    """What the registry wants in the header, as its refusal says (RFC 6750, RFC 7617)."""
    scheme, _, rest = refusal.headers.get("WWW-Authenticate", "").partition(" ")
    if scheme.lower() == "basic" and credentials:
        return "Basic " + base64.b64encode(":".join(credentials).encode()).decode()
    fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    if scheme.lower() != "bearer" or "realm" not in fields:
        refusal.raise_for_status()
    if urlsplit(fields["realm"]).scheme != "https" and refusal.url.scheme == "https":
        raise LabError("the registry sends passwords to where they can be read", value=fields["realm"])
    asked = {"scope": f"repository:{repository}:pull"}
    if "service" in fields:
        asked["service"] = fields["service"]
    answer = client.get(fields["realm"], params=asked, auth=credentials)
    answer.raise_for_status()
    document = answer.json()
    return f"Bearer {document.get('token') or document.get('access_token')}"


def _credentials(host: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """User and password that ``docker login`` keeps for ``host``; None where it keeps none, or keeps them in
    a helper of its own."""
    home = Path(environ.get("HOME") or "~").expanduser()
    folder = Path(environ["DOCKER_CONFIG"]) if environ.get("DOCKER_CONFIG") else home / ".docker"
    try:
        document = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kept = base64.b64decode(document["auths"][host]["auth"]).decode()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    user, _, password = kept.partition(":")
    return (user, password) if password else None
