"""A container registry, as much of its API as images are carried with
(https://github.com/opencontainers/distribution-spec/blob/main/spec.md)."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from contracts.errors import LabError, UsageError

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_TIMEOUT = httpx.Timeout(30.0, read=120.0, write=120.0)
_PLACE = re.compile(r"(https?://)?[a-z0-9][a-z0-9.-]*(:\d+)?(/[a-z0-9][a-z0-9._-]*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where repositories lie: ``base`` is the registry's URL, ``host`` what references name it by, ``prefix``
    what their repositories begin with."""

    base: str
    host: str
    prefix: str

    def repository(self, name: str) -> str:
        """The full name of a repository below the prefix."""
        return f"{self.prefix}/{name}".strip("/")


def place_of(text: str) -> Place:
    """``HOST[:PORT][/PREFIX]``, with ``http://`` for one without TLS.

    Raises:
        UsageError: it is something else.
    """
    if not _PLACE.fullmatch(text):
        raise UsageError(
            "the registry is not understood",
            value=text,
            permitted="HOST[:PORT][/PREFIX], http:// before it",
        )
    url = urlsplit(text if "://" in text else f"https://{text}")
    return Place(base=f"{url.scheme}://{url.netloc}", host=url.netloc, prefix=url.path.strip("/"))


def check_tag(tag: str) -> str:
    """``tag``. Raises UsageError when it is none."""
    if not _TAG.fullmatch(tag):
        raise UsageError("the tag is not understood", value=tag, permitted="letters, digits, and . _ - in it")
    return tag


def split_reference(reference: str) -> tuple[Place, str, str]:
    """Registry, repository and digest of ``HOST/REPOSITORY@sha256:…``. One on this machine has no TLS, as
    everywhere else."""
    name, _, digest = reference.partition("@")
    host, _, repository = name.partition("/")
    scheme = "http" if _is_loopback(host.rpartition(":")[0] or host) else "https"
    return Place(base=f"{scheme}://{host}", host=host, prefix=""), repository.partition(":")[0], digest


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def digest_of(content: bytes) -> str:
    """As registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(kw_only=True)
class Registry:
    """Requests to one registry, each with what it wants in ``Authorization``. Credentials are those that
    ``docker login`` keeps for its host.

    Every method raises LabError when the registry does not answer, refuses, or sends other content than was
    asked for.
    """

    place: Place
    client: httpx.Client
    environ: Mapping[str, str]
    _authorization: dict[tuple[str, str], str] = field(default_factory=dict)

    def manifest(self, repository: str, reference: str) -> tuple[bytes, str]:
        """Content and media type of a manifest or index, by tag or digest. The content's digest is the
        registry's word and, by digest, what was asked for."""
        headers = {"Accept": ", ".join((*INDEXES, *MANIFESTS))}
        answer = self._request("GET", f"{repository}/manifests/{reference}", repository, headers=headers)
        found = digest_of(answer.content)
        promised = reference if ":" in reference else answer.headers.get("Docker-Content-Digest", found)
        if promised != found:
            raise LabError(
                f"the registry sent another manifest of {_named(repository, reference)} than it says",
                value=found,
                permitted=promised,
            )
        return answer.content, answer.headers.get("Content-Type", MANIFESTS[0]).partition(";")[0]

    def fetch(self, repository: str, digest: str, file: Path) -> int:
        """Writes a blob to ``file``; its size in bytes."""
        sha256, size = hashlib.sha256(), 0
        path = f"{repository}/blobs/{digest}"
        with self._streamed(path, repository) as answer, file.open("wb") as out:
            for chunk in answer.iter_bytes(_CHUNK_BYTES):
                sha256.update(chunk)
                size += out.write(chunk)
        if digest != f"sha256:{sha256.hexdigest()}":
            raise LabError(
                f"the registry sent another blob of {repository} than was asked for",
                value=f"sha256:{sha256.hexdigest()}",
                permitted=digest,
            )
        return size

    def has(self, repository: str, digest: str) -> bool:
        """Whether a blob is there."""
        answer = self._request("HEAD", f"{repository}/blobs/{digest}", repository, permitted=(404,))
        return answer.status_code == httpx.codes.OK

    def upload(self, repository: str, digest: str, file: Path) -> None:
        """Puts a blob there, in one piece."""
        begun = self._request("POST", f"{repository}/blobs/uploads/", repository, push=True)
        where = begun.request.url.join(begun.headers["Location"])
        self._request(
            "PUT",
            str(where.copy_merge_params({"digest": digest})),
            repository,
            push=True,
            content=file,
            headers={
                "Content-Type": "application/octet-stream",
                "Content-Length": str(file.stat().st_size),
            },
        )

    def put(self, repository: str, reference: str, content: bytes, media_type: str) -> None:
        """Puts a manifest or index there, by tag or digest."""
        self._request(
            "PUT",
            f"{repository}/manifests/{reference}",
            repository,
            push=True,
            content=content,
            headers={"Content-Type": media_type},
        )

    @contextmanager
    def _streamed(self, path: str, repository: str) -> Iterator[httpx.Response]:
        url = self._url(path)
        try:
            with self.client.stream("GET", url, headers=self._headers(repository, push=False)) as answer:
                if answer.status_code != httpx.codes.UNAUTHORIZED:
                    answer.raise_for_status()
                    yield answer
                    return
                self._authorization[repository, _actions(False)] = self._answer_to(answer, repository, False)
            with self.client.stream("GET", url, headers=self._headers(repository, push=False)) as answer:
                answer.raise_for_status()
                yield answer
        except httpx.HTTPError as error:
            raise self._failed("GET", path, error) from error

    def _request(
        self,
        method: str,
        path: str,
        repository: str,
        *,
        push: bool = False,
        permitted: tuple[int, ...] = (),
        headers: Mapping[str, str] | None = None,
        content: bytes | Path | None = None,
    ) -> httpx.Response:
        try:
            answer = self._once(method, path, repository, push, headers, content)
            if answer.status_code == httpx.codes.UNAUTHORIZED:
                self._authorization[repository, _actions(push)] = self._answer_to(answer, repository, push)
                answer = self._once(method, path, repository, push, headers, content)
            if answer.status_code not in permitted:
                answer.raise_for_status()
        except httpx.HTTPError as error:
            raise self._failed(method, path, error) from error
        return answer

    def _once(
        self,
        method: str,
        path: str,
        repository: str,
        push: bool,
        headers: Mapping[str, str] | None,
        content: bytes | Path | None,
    ) -> httpx.Response:
        every = {**(headers or {}), **self._headers(repository, push=push)}
        if not isinstance(content, Path):
            return self.client.request(method, self._url(path), headers=every, content=content)
        with content.open("rb") as file:
            chunks = iter(lambda: file.read(_CHUNK_BYTES), b"")
            return self.client.request(method, self._url(path), headers=every, content=chunks)

    def _headers(self, repository: str, *, push: bool) -> dict[str, str]:
        known = self._authorization.get((repository, _actions(push)))
        return {"Authorization": known} if known else {}

    def _url(self, path: str) -> str:
        return path if "://" in path else f"{self.place.base}/v2/{path}"

    def _answer_to(self, refusal: httpx.Response, repository: str, push: bool) -> str:
        """What the registry wants in the header, as its refusal says (RFC 6750, RFC 7617)."""
        credentials = _credentials(self.place.host, self.environ)
        scheme, _, rest = refusal.headers.get("WWW-Authenticate", "").partition(" ")
        if scheme.lower() == "basic" and credentials:
            return "Basic " + base64.b64encode(":".join(credentials).encode()).decode()
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        if scheme.lower() != "bearer" or "realm" not in fields:
            refusal.raise_for_status()
        if urlsplit(fields["realm"]).scheme != "https" and refusal.url.scheme == "https":
            raise LabError("the registry sends passwords to where they can be read", value=fields["realm"])
        asked = {"scope": f"repository:{repository}:{_actions(push)}"}
        if "service" in fields:
            asked["service"] = fields["service"]
        answer = self.client.get(fields["realm"], params=asked, auth=credentials)
        answer.raise_for_status()
        document = answer.json()
        return f"Bearer {document.get('token') or document.get('access_token')}"

    def _failed(self, method: str, path: str, error: httpx.HTTPError) -> LabError:
        repository, _, reference = path.partition("/manifests/")
        what = f"image {_named(repository, reference)}" if reference else path.partition("?")[0]
        done = "read" if method in ("GET", "HEAD") else "written"
        return LabError(
            f"{what} can't be {done}: {error}",
            value=self.place.base,
            permitted="a registry that holds all of the lab's images"
            if done == "read"
            else "a registry that you may push to",
            next_command="docker login HOST, where it wants to know who asks",
        )


def registry(
    place: Place, environ: Mapping[str, str], transport: httpx.BaseTransport | None = None
) -> Registry:
    """A registry; its client is to be closed."""
    client = httpx.Client(timeout=_TIMEOUT, transport=transport, follow_redirects=True)
    return Registry(place=place, client=client, environ=environ)


def _actions(push: bool) -> str:
    return "pull,push" if push else "pull"


def _named(repository: str, reference: str) -> str:
    return f"{repository}{'@' if ':' in reference else ':'}{reference}"


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
