"""``lab:Kubeconfig``: the file by which this machine's tunnels reach a cluster, as a Pulumi resource.

It holds no credential: ``kubectl`` runs ``aws eks get-token`` for one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult


class KubeconfigProvider(ResourceProvider):
    """Writes the file, and again where it is another one or gone: each machine that works on a lab has its
    own."""

    serialize_as_secret_always = False

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        moved = olds.get("path") != news.get("path")
        differs = olds.get("content") != news.get("content") or _content(news) != news.get("content")
        return DiffResult(changes=moved or differs, replaces=["path"] if moved else [])

    def create(self, props: dict[str, Any]) -> CreateResult:
        _write(props)
        return CreateResult(id_=str(props["path"]), outs=dict(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        _write(news)
        return UpdateResult(outs=dict(news))

    def delete(self, _id: str, props: dict[str, Any]) -> None:
        Path(props["path"]).unlink(missing_ok=True)


def _write(props: dict[str, Any]) -> None:
    path = Path(props["path"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(str(props["content"]), encoding="utf-8")


def _content(props: dict[str, Any]) -> str | None:
    try:
        return Path(str(props.get("path"))).read_text(encoding="utf-8")
    except OSError:
        return None


class Kubeconfig(Resource, module="lab", name="Kubeconfig"):
    """A kubeconfig on this machine."""

    content: pulumi.Output[str]

    def __init__(
        self, name: str, *, path: Path, content: pulumi.Input[str], opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__(KubeconfigProvider(), name, {"path": str(path), "content": content}, opts)
