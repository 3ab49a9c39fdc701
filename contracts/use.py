"""The note of a lab's last use: an object that outlives the lab, written anew while somebody uses it.

Whoever stops idle labs goes by the time at which it was written, and does not read it.
"""

from __future__ import annotations

USE_KEY = "activity/used.json"
"""Its key, in the bucket of access bundles."""
