"""A container registry that keeps what it is given in memory, for tests: a real server on the loopback."""

from __future__ import annotations

import http.server
import json
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cli.registry import INDEXES, MANIFESTS, digest_of
from contracts.versions import IMAGES

_LAYER = "application/vnd.oci.image.layer.v1.tar"
_CONFIG = "application/vnd.oci.image.config.v1+json"


class Registry:
    """Manifests by repository and tag or digest, with their media types; blobs by digest, with None for one
    that got lost. ``places`` says which repositories have which blobs."""

    def __init__(self, *, token: str = "", read_only: bool = False) -> None:
        self.token, self.read_only = token, read_only
        self.manifests: dict[tuple[str, str], tuple[bytes, str]] = {}
        self.blobs: dict[str, bytes | None] = {}
        self.places: set[tuple[str, str]] = set()
        self.host = ""

    def fill(self, prefix: str) -> None:
        """Every image of the lab under tag ``1``. They share a layer; one is for two architectures."""
        for name in IMAGES:
            repository = f"{prefix}/{name}"
            kinds = ("amd64", "arm64") if name == "opa" else ("amd64",)
            made = [self._image(repository, name, kind) for kind in kinds]
            if len(made) > 1:
                document = {"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": made}
                self._keep(repository, json.dumps(document).encode(), INDEXES[0])

    def references(self, prefix: str) -> dict[str, str]:
        """As ``lab images lock`` finds them."""
        return {
            name: f"{self.host}/{prefix}/{name}@{digest_of(self.manifests[f'{prefix}/{name}', '1'][0])}"
            for name in IMAGES
        }

    def blobs_of(self, prefix: str) -> set[str]:
        """Digests of blobs in repositories whose name begins so."""
        return {digest for repository, digest in self.places if repository.startswith(prefix)}

    def _image(self, repository: str, name: str, architecture: str) -> dict[str, Any]:
        layers = [b"the same for all" * 1000, f"{name} for {architecture}".encode() * 3000]
        config = json.dumps({"architecture": architecture, "os": "linux"}).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFESTS[0],
            "config": self._blob(repository, config, _CONFIG),
            "layers": [self._blob(repository, layer, _LAYER) for layer in layers],
        }
        content = json.dumps(manifest).encode()
        self._keep(repository, content, MANIFESTS[0])
        return {"mediaType": MANIFESTS[0], "digest": digest_of(content), "size": len(content)}

    def _blob(self, repository: str, content: bytes, media_type: str) -> dict[str, Any]:
        digest = digest_of(content)
        self.blobs[digest] = content
        self.places.add((repository, digest))
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def _keep(self, repository: str, content: bytes, media_type: str) -> None:
        for reference in ("1", digest_of(content)):
            self.manifests[repository, reference] = (content, media_type)


class _Handler(http.server.BaseHTTPRequestHandler):
    registry: Registry

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/token":
            self._answer(200, json.dumps({"token": self.registry.token}).encode())
        elif self._admitted() and (found := self._found(url.path)) is not None:
            self._answer(200, *found)

    do_HEAD = do_GET

    def _found(self, path: str) -> tuple[bytes, dict[str, str]] | None:
        match = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/([^/]+)", path)
        assert match is not None, path
        repository, kind, reference = match.groups()
        if kind == "manifests" and (known := self.registry.manifests.get((repository, reference))):
            content, media_type = known
            return content, {"Content-Type": media_type, "Docker-Content-Digest": digest_of(content)}
        blob = self.registry.blobs.get(reference)
        if kind == "blobs" and blob is not None and (repository, reference) in self.registry.places:
            return blob, {}
        self._answer(404)
        return None

    def do_POST(self) -> None:
        if self._admitted() and self._writable():
            self._answer(202, headers={"Location": f"{self.path}{uuid.uuid4()}?state=1"})

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if not (self._admitted() and self._writable()):
            return
        url = urlsplit(self.path)
        if match := re.fullmatch(r"/v2/(.+)/blobs/uploads/[^/]+", url.path):
            query = parse_qs(url.query)
            (digest,) = query["digest"]
            assert query["state"] == ["1"], "what the registry put into the address is kept"
            if digest != digest_of(content):
                self._answer(400)
                return
            self.registry.blobs[digest] = content
            self.registry.places.add((match[1], digest))
            self._answer(201)
            return
        match = re.fullmatch(r"/v2/(.+)/manifests/([^/]+)", url.path)
        assert match is not None, self.path
        repository, reference = match.groups()
        for name in {reference, digest_of(content)}:
            self.registry.manifests[repository, name] = (content, self.headers["Content-Type"])
        self._answer(201 if self._complete(repository, content) else 400)

    def _complete(self, repository: str, content: bytes) -> bool:
        """As registries check it: what a manifest names has to be there before it."""
        document = json.loads(content)
        if "manifests" in document:
            return all(
                (repository, one["digest"]) in self.registry.manifests for one in document["manifests"]
            )
        parts = (document["config"], *document["layers"])
        return all((repository, one["digest"]) in self.registry.places for one in parts)

    def _writable(self) -> bool:
        if self.registry.read_only:
            self._answer(405)
        return not self.registry.read_only

    def _admitted(self) -> bool:
        wanted = self.registry.token
        if not wanted or self.headers.get("Authorization") == f"Bearer {wanted}":
            return True
        challenge = f'Bearer realm="http://{self.registry.host}/token",service="registry"'
        self._answer(401, headers={"WWW-Authenticate": challenge})
        return False

    def _answer(self, status: int, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serving(*, token: str = "", read_only: bool = False) -> Iterator[Registry]:
    """A registry on a free port of the loopback."""
    registry = Registry(token=token, read_only=read_only)
    handler = type("Handler", (_Handler,), {"registry": registry})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        registry.host = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield registry
        finally:
            server.shutdown()
            thread.join()
