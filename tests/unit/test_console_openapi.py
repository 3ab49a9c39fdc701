"""The description that the web's client is generated from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from control_plane.api.examples import BODIES
from control_plane.api.openapi import FILE, document
from control_plane.api.schemas.common import Body


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


def _bodies(kind: type[Body] = Body) -> Iterator[type[Body]]:
    for one in kind.__subclasses__():
        yield one
        yield from _bodies(one)


@pytest.mark.parametrize("name", BODIES)
def test_an_example_is_what_the_api_takes(name: str) -> None:
    (model,) = (one for one in _bodies() if one.__name__ == name)
    taken = model.model_validate(BODIES[name])
    assert taken.model_fields_set == set(BODIES[name]), "it shows what it says"


def test_every_body_has_an_example_and_no_example_is_left_over() -> None:
    described: dict[str, Any] = json.loads(document())
    operations = [o for path in described["paths"].values() for o in path.values() if "requestBody" in o]
    bodies = [o["requestBody"]["content"].get("application/json") for o in operations]
    shown = {body["schema"]["$ref"].rpartition("/")[2]: body["example"] for body in bodies if body}
    assert shown == BODIES
