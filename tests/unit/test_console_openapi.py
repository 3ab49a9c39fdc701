"""The description that the web's client is generated from."""

from __future__ import annotations

import json
from typing import Any

from control_plane.api.openapi import FILE, document


def test_openapi_file_is_current() -> None:
    """Else: python -m control_plane.api.openapi."""
    assert FILE.read_text(encoding="utf-8") == document()


def test_every_operation_has_a_name_of_its_own_and_the_one_form_of_errors() -> None:
    described: dict[str, Any] = json.loads(document())
    operations = [o for path in described["paths"].values() for o in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names)) > 50
    for operation in operations:
        assert operation["responses"]["default"] == {"$ref": "#/components/responses/Problem"}
        assert operation.get("description") or operation.get("summary")
