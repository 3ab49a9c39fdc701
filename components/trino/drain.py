"""Asks the Trino worker beside which it runs to take no more work, to finish what it has, and to end; returns
once it has (https://trino.io/docs/476/admin/graceful-shutdown.html).

It proves itself as workers and coordinator do to each other: by a token signed with the internal secret. A
generated file of the worker, hence without imports from the checkout.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping

TOKEN_HEADER = "X-Trino-Internal-Bearer"
SECRET_VARIABLE = "TRINO_INTERNAL_SECRET"
_LIFE_S = 60
_TIMEOUT_S = 5
_PAUSE_S = 0.5


def internal_token(secret: str, *, now_s: float) -> str:
    """A token that says nothing but that its bearer knows ``secret``, for a minute."""
    head = _encoded(json.dumps({"alg": "HS256"}).encode())
    body = _encoded(json.dumps({"sub": "drain", "exp": int(now_s) + _LIFE_S}).encode())
    key = hashlib.sha256(secret.encode()).digest()
    signature = hmac.new(key, f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{_encoded(signature)}"


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def drain(url: str, environ: Mapping[str, str]) -> None:
    """Asks the worker at ``url``, and returns when nobody answers there any more.

    Raises:
        urllib.error.HTTPError: it refused.
        KeyError: the internal secret is not in ``environ``.
    """
    # It asks its own process by its loopback address: there is nobody to verify.
    context = ssl._create_unverified_context()  # noqa: S323  see above
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    token = internal_token(environ[SECRET_VARIABLE], now_s=time.time())
    request = urllib.request.Request(  # noqa: S310  the workload's own address
        f"{url}/v1/info/state",
        data=b'"SHUTTING_DOWN"',
        headers={"Content-Type": "application/json", TOKEN_HEADER: token},
        method="PUT",
    )
    there = _answers(opener, request, until_heard=True)
    while there:
        time.sleep(_PAUSE_S)
        try:
            there = _answers(opener, urllib.request.Request(f"{url}/v1/info"))  # noqa: S310  the same
        except urllib.error.HTTPError:
            continue


def _answers(
    opener: urllib.request.OpenerDirector, request: urllib.request.Request, *, until_heard: bool = False
) -> bool:
    """Whether anybody is there: slow or busy is not gone. ``until_heard``: asks until it is answered."""
    while True:
        try:
            with opener.open(request, timeout=_TIMEOUT_S):
                return True
        except urllib.error.HTTPError:
            raise
        except OSError as error:
            if isinstance(getattr(error, "reason", error), ConnectionRefusedError):
                return False
            if not until_heard:
                return True
        time.sleep(_PAUSE_S)


if __name__ == "__main__":
    drain(sys.argv[1], os.environ)
