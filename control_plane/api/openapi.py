"""The API's description: ``python -m control_plane.api.openapi [FILE]`` writes ``openapi.json``.

The web's client is generated from the file that lies beside this module; a test holds it current.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from control_plane.api.app import DESCRIPTION as FILE
from control_plane.api.app import described_app

__all__ = ["FILE", "document"]


def document() -> str:
    """The description as JSON text; equal code gives equal text."""
    return json.dumps(described_app().openapi(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else FILE).write_text(document(), encoding="utf-8")
