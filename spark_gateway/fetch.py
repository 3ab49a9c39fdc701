"""Fetches a job's files into its pod: ``python -m spark_gateway.fetch URL CREDENTIAL_FILE FOLDER NAME…``.

Runs before the driver, in the same pod. The credential is the run's own, ``run:secret``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import httpx

_ATTEMPTS = 7
"""To connect, with pauses that double: a minute in all."""
_TIMEOUT_S = 60.0


def fetch(
    url: str, credential: str, folder: Path, names: Sequence[str], *, attempts: int = _ATTEMPTS
) -> None:
    """Writes each of the files ``names`` into ``folder``.

    Raises:
        httpx.HTTPError: the gateway refuses, or does not answer after ``attempts``.
        OSError: a file can't be written.
    """
    run_id, _, secret = credential.partition(":")
    # The gateway is in the same cluster: never through a proxy.
    with httpx.Client(
        auth=(run_id, secret),
        timeout=_TIMEOUT_S,
        transport=httpx.HTTPTransport(retries=attempts),
        trust_env=False,
    ) as http:
        for name in names:
            with http.stream("GET", f"{url}/{name}") as answer, (folder / name).open("wb") as file:
                answer.raise_for_status()
                for chunk in answer.iter_bytes():
                    file.write(chunk)


def main(url: str, credential_file: str, folder: str, *names: str) -> int:
    """1 when a file could not be had, with the reason on standard error."""
    try:
        fetch(url, Path(credential_file).read_text(encoding="utf-8"), Path(folder), names)
    except (httpx.HTTPError, OSError) as error:
        print(f"the job's files can't be fetched from {url}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
