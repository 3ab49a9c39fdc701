"""Where the engine starts the pack; it knows this folder alone."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from policies.guardrails.pack import serve

serve()
