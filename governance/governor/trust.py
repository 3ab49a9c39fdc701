"""Whom a service's HTTPS connections trust."""

from __future__ import annotations

import ssl
from pathlib import Path

from contracts.errors import UsageError


def trusted(ca_file: Path | None, setting: str) -> ssl.SSLContext:
    """The system's authorities and the lab's. One for all clients: each would cost a megabyte or two.
    ``setting`` is what an error calls the file.

    Raises:
        UsageError: the file is missing or holds no certificate.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(
                f"{setting} can't be used: {error}", value=str(ca_file), permitted="a PEM file"
            ) from error
    return context
