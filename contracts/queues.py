"""What those agree on who write, read and fill Trino's queues."""

from __future__ import annotations

QUEUES_SCHEMA = "queues"
"""Where they are: beside the hash mask's key, in the database that the governor writes and Trino reads."""

TRINO_ENVIRONMENT = "lab"
"""Trino's ``node.environment``: whose queues these are."""

PAGES_SOURCE = "console-pages"
"""What the console calls itself to Trino where it fills its own pages."""


def workspace_tag(namespace: str) -> str:
    """The client tag of a query in a workspace's namespace."""
    return f"workspace:{namespace.lower()}"
