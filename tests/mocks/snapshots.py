"""What the stacks of placement aws register, as text that a review shows line by line.

``python -m tests.mocks.snapshots`` writes it anew after a change that is meant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tests.mocks.test_stacks import ROOT, Recorded, run

FOLDER = ROOT / "tests" / "mocks" / "recorded"
_ACCOUNT = ("placement=aws", "awsRegion=eu-central-1", "awsAccountId=123456789012")
STACKS: Mapping[str, tuple[str, ...]] = {
    "persistent": (*("persistent", *_ACCOUNT, "awsAccessLogs=true", "awsCiRepository=octo-org/lakehouse"),),
    "cluster": ("cluster", *_ACCOUNT, "awsApiCidrs=203.0.113.7/32"),
}
"""By the file's name: what is run."""


def text_of(name: str) -> str:
    """The text of one stack. Tags are left out: a test holds that all have the same."""
    role, *pairs = STACKS[name]
    return rendered(run(role, *pairs))


def rendered(found: Recorded) -> str:
    """Resources by type and name, with their inputs and what holds for them."""
    own = [r for r in found.resources if r["type"].startswith(("aws:", "eks:"))]
    lines: list[str] = []
    for resource in sorted(own, key=lambda r: (r["type"], r["name"])):
        options = resource["options"]
        marks = [mark for mark in ("protect", "retain_on_delete") if options[mark]]
        lines.append(f"{resource['type']} {resource['name']}{''.join(f' [{m}]' for m in marks)}")
        for key, value in sorted(resource["inputs"].items()):
            if key != "tags":
                lines += _lines(key, value)
        lines += [f"  after {other}" for other in options["depends_on"] if other.startswith(("aws:", "eks:"))]
    return "\n".join(lines) + "\n"


def _lines(key: str, value: Any) -> list[str]:
    if isinstance(value, str) and value.startswith('{"'):
        document = json.dumps(json.loads(value), indent=1, sort_keys=True).splitlines()
        return [f"  {key}:", *(f"    {line}" for line in document)]
    text = json.dumps(value, sort_keys=True)
    return [f"  {key}: {re.sub(r'<[^<>]* object at 0x[0-9a-f]+>', '(a resource)', text)}"]


if __name__ == "__main__":
    for stack in STACKS:
        (FOLDER / f"aws-{stack}.txt").write_text(text_of(stack), encoding="utf-8")
