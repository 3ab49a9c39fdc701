"""The kubernetes provider: configuration as the official one takes it, as far as the lab sets it."""

from __future__ import annotations

import base64
import ssl
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import yaml

from contracts.errors import LabError
from plugins.base import Provider
from plugins.values import Props
from tests.cluster.provider.api import Api
from tests.cluster.provider.objects import TYPES


class KubernetesProvider(Provider[Api]):
    """Serves the objects that a lab is made of."""

    name = "kubernetes"

    def __init__(self) -> None:
        super().__init__(version("pulumi_kubernetes"), [kind() for kind in TYPES])

    def connect(self, config: Props) -> Api:
        """A client of the configured cluster. Raises LabError without a usable kubeconfig."""
        given = str(config.get("kubeconfig") or "")
        if not given:
            raise LabError("the provider kubernetes has no kubeconfig", permitted="its path or its content")
        text = given if "\n" in given or given.startswith("{") else Path(given).read_text(encoding="utf-8")
        document = yaml.safe_load(text)
        name = str(config.get("context") or document["current-context"])
        context = _named(document["contexts"], name)["context"]
        cluster = _named(document["clusters"], context["cluster"])["cluster"]
        user = _named(document["users"], context["user"])["user"]
        trust = ssl.create_default_context(cadata=_content(cluster, "certificate-authority"))
        with tempfile.TemporaryDirectory() as folder:
            pair = Path(folder) / "pair.pem"
            pair.touch(mode=0o600)
            pair.write_text(_content(user, "client-certificate") + _content(user, "client-key"), "utf-8")
            trust.load_cert_chain(pair)
        return Api(httpx.Client(base_url=cluster["server"], verify=trust, trust_env=False, timeout=60))


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise LabError(
        "the kubeconfig has no such entry",
        value=name,
        permitted=", ".join(entry["name"] for entry in entries),
    )


def _content(entry: dict[str, Any], key: str) -> str:
    if f"{key}-data" in entry:
        return base64.b64decode(entry[f"{key}-data"]).decode()
    return Path(entry[key]).read_text(encoding="utf-8")
