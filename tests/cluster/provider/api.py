"""The few requests to a Kubernetes API that managing an object takes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx

from contracts.errors import LabError

MANAGER = "pulumi-kubernetes"
"""Owner of the applied fields: what it no longer declares goes, what others own it does not take."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Where the objects of a kind are in the API."""

    api_version: str
    name: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str, name: str = "") -> str:
        """Of one object, or of all in a namespace."""
        root = "/api/v1" if self.api_version == "v1" else f"/apis/{self.api_version}"
        within = f"/namespaces/{namespace}" if self.namespaced else ""
        return f"{root}{within}/{self.plural}" + (f"/{name}" if name else "")


class Api:
    """A signed-in client. Each method raises LabError with the API's own words for what it refuses."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def get(self, path: str) -> dict[str, Any] | None:
        """An object, or None where there is none."""
        answer = self._send("GET", path)
        return None if answer is None else dict(answer)

    def items(self, path: str, selector: str) -> list[dict[str, Any]]:
        """Objects that carry labels."""
        answer = self._send("GET", path, params={"labelSelector": selector})
        return [] if answer is None else list(answer["items"])

    def apply(self, path: str, manifest: dict[str, Any]) -> dict[str, Any]:
        """Server-side apply (https://kubernetes.io/docs/reference/using-api/server-side-apply/). A field that
        somebody else owns is a conflict and changes nothing."""
        answer = self._send(
            "PATCH",
            path,
            content=json.dumps(manifest),
            headers={"Content-Type": "application/apply-patch+yaml"},
            params={"fieldManager": MANAGER, "fieldValidation": "Strict"},
        )
        if answer is None:
            raise LabError("the namespace or the kind is not there", value=path)
        return answer

    def delete(self, path: str, uid: str) -> None:
        """Asks for removal of exactly this object, and of all that belongs to it before it."""
        options = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": "Foreground",
            "preconditions": {"uid": uid},
        }
        self._send("DELETE", path, content=json.dumps(options), headers={"Content-Type": "application/json"})

    def _send(self, method: str, path: str, **more: Any) -> dict[str, Any] | None:
        try:
            answer = self._client.request(method, path, **more)
        except httpx.TransportError as error:
            raise LabError(f"the cluster does not answer: {error}", value=path) from error
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        try:
            document: dict[str, Any] = answer.json()
        except ValueError:
            document = {"message": answer.text}
        if not answer.is_success:
            raise LabError(f"the cluster refuses {method}: {document.get('message')}", value=path)
        return document
