"""``lab images list`` and ``lab images lock --registry``, with a registry as the specification has it."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import httpx
import pytest

from cli import app
from cli.operations.imaging import list_images, lock_image_digests
from contracts.errors import LabError, UsageError
from contracts.versions import IMAGES
from placements.kubernetes.images import image_references, require_images


class Registry:
    """Holds every image under tag ``1``; with ``token`` it wants to know who asks."""

    def __init__(self, *, token: str = "", lacks: str = "", lies: bool = False, realm: str = "") -> None:
        self.token, self.lacks, self.lies = token, lacks, lies
        self.realm = realm or "https://auth.example/token"
        self.asked: list[httpx.Request] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if request.url.host == "auth.example":
            wanted = "Basic " + base64.b64encode(b"robot:pass:word").decode()
            if request.headers.get("Authorization") != wanted:
                return httpx.Response(401)
            return httpx.Response(200, json={"token": self.token})
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            challenge = f'Bearer realm="{self.realm}",service="registry",scope="anything"'
            return httpx.Response(401, headers={"WWW-Authenticate": challenge})
        name = request.url.path.removeprefix("/v2/team/lab/").removesuffix("/manifests/1")
        if name not in IMAGES or name == self.lacks:
            return httpx.Response(404)
        content = manifest(name)
        digest = f"sha256:{'0' * 64}" if self.lies else digest_of(content)
        return httpx.Response(200, content=content, headers={"Docker-Content-Digest": digest})

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.answer)


def manifest(name: str) -> bytes:
    return json.dumps({"schemaVersion": 2, "name": name}).encode()


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def lock(registry: Registry, tmp_path: Path, where: str = "registry.example:5000/team/lab") -> dict[str, str]:
    environ = {"DOCKER_CONFIG": str(tmp_path / "docker")}
    result = lock_image_digests(
        where,
        "1",
        tmp_path / "to" / "images.json",
        lambda _: None,
        environ=environ,
        transport=registry.transport,
    )
    return dict(result.references)


def log_in(tmp_path: Path, host: str = "registry.example:5000") -> None:
    (tmp_path / "docker").mkdir()
    auth = base64.b64encode(b"robot:pass:word").decode()
    (tmp_path / "docker" / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))


def test_every_image_is_recorded_by_the_digest_of_what_was_read(tmp_path: Path) -> None:
    found = lock(Registry(), tmp_path)
    assert found == {
        name: f"registry.example:5000/team/lab/{name}@{digest_of(manifest(name))}" for name in IMAGES
    }
    written = image_references(tmp_path / "to" / "images.json")
    assert written == found
    require_images(IMAGES, written)
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["images.json"]


def test_a_registry_that_wants_to_know_who_asks_is_told_what_docker_login_kept(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="can't be read"):
        lock(Registry(token="t"), tmp_path)
    log_in(tmp_path)
    registry = Registry(token="t")
    assert set(lock(registry, tmp_path)) == set(IMAGES)
    scopes = {r.url.params["scope"] for r in registry.asked if r.url.host == "auth.example"}
    assert scopes == {f"repository:team/lab/{name}:pull" for name in IMAGES}


def test_passwords_are_not_sent_in_plain_text(tmp_path: Path) -> None:
    log_in(tmp_path)
    registry = Registry(token="t", realm="http://auth.example/token")
    with pytest.raises(LabError, match="where they can be read"):
        lock(registry, tmp_path)
    assert not [request for request in registry.asked if request.url.host == "auth.example"]


@pytest.mark.parametrize(
    ("registry", "said"),
    [(Registry(lacks="opa"), "team/lab/opa:1 can't be read"), (Registry(lies=True), "another manifest")],
)
def test_nothing_is_written_unless_everything_was_read(tmp_path: Path, registry: Registry, said: str) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "images.json").write_text("{}")
    with pytest.raises(LabError, match=said):
        lock(registry, tmp_path)
    assert (tmp_path / "to" / "images.json").read_text() == "{}"


@pytest.mark.parametrize("where", ["", "Registry", "registry.example/", "ftp://h", "h/a b", "user:pw@h/x"])
def test_a_registry_that_is_not_understood_is_not_asked(tmp_path: Path, where: str) -> None:
    registry = Registry()
    with pytest.raises(UsageError, match="not understood"):
        lock(registry, tmp_path, where)
    assert registry.asked == []


def test_images_are_listed_with_what_is_known_of_them(tmp_path: Path) -> None:
    assert {row.reference for row in list_images()} == {None}
    reference = f"registry.example/opa@sha256:{'1' * 64}"
    file = tmp_path / "images.json"
    file.write_text(json.dumps({"opa": reference}))
    rows = {row.name: row for row in list_images(file)}
    assert rows["opa"].reference == reference
    assert rows["trino"].artifacts == ("trino", "java25")
    assert rows["trino"].reference is None


def test_the_command_lists_images_and_says_what_to_do_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["images", "list"]) == 0
    out, err = capsys.readouterr()
    assert all(name in out for name in IMAGES)
    assert "lab images lock --registry HOST/PREFIX" in err


def test_the_command_wants_to_know_where_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["images", "lock", "--registry", "registry.example/lab"]) == 2
    assert "--file FILE" in capsys.readouterr().err
