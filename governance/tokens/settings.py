"""What the token endpoint reads from its environment: ``TOKENS_BIND`` (127.0.0.1), ``TOKENS_PORT``,
``TOKENS_ISSUER_TOKEN_URL`` (the token endpoint that is asked) and ``TOKENS_CLIENT_ID`` (whose tokens are
kept). It holds no secret: each request brings one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from governance.environment import Environment

TOKEN_PATH = "/v1/token"


@dataclass(frozen=True, kw_only=True)
class TokenSettings:
    """The settings; see the module."""

    bind: str
    port: int
    issuer_token_url: str
    client_id: str


def read_settings(environ: Mapping[str, str]) -> TokenSettings:
    """The settings of an environment.

    Raises:
        UsageError: a variable is missing or not valid; names it and what is permitted.
    """
    found = Environment(environ, "TOKENS_", see="governance.tokens.settings")
    return TokenSettings(
        bind=found.text("BIND", "127.0.0.1"),
        port=found.number("PORT", None, 1),
        issuer_token_url=found.url("ISSUER_TOKEN_URL"),
        client_id=found.text("CLIENT_ID"),
    )
