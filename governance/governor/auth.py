"""Who calls: access tokens of Keycloak, and what each caller may do.

Tokens: https://www.rfc-editor.org/rfc/rfc9068, as far as Keycloak follows it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jwt

from contracts.errors import LabError
from contracts.identity import GROUPS_CLAIM, Audience

_ALGORITHMS = ("RS256",)
_LEEWAY_S = 10
_JWKS_LIFESPAN_S = 300.0
_JWKS_TIMEOUT_S = 5.0
_SERVICE_ACCOUNT_PREFIX = "service-account-"


class UnauthenticatedError(LabError):
    """There is no token, or not one to believe (401)."""


class ForbiddenError(LabError):
    """The caller may not do this (403)."""


class IdentityUnavailableError(LabError):
    """Keycloak's keys can't be had, so that no token can be checked (503)."""


class Permission(StrEnum):
    """What a caller may be allowed."""

    READ_ACCESS = "read access data"
    EDIT_RULES = "edit tags and rules"
    EDIT_GRANTS = "edit grants"
    BREAK_GLASS = "make exceptions"
    SEED = "seed access data"
    RECONCILE = "reconcile"
    READ_AUDIT = "read the audit of others"
    OWN_FOR_ANY_GROUP = "register tables for any group"
    MAINTAIN_EVERYTHING = "decide on the maintenance of every table"
    CREATE_WORKSPACES = "make workspaces"
    MANAGE_WORKSPACES = "manage every workspace"


_GROUP_PERMISSIONS: dict[str, frozenset[Permission]] = {
    "lab_admins": frozenset(Permission),
    "data_engineers": frozenset({Permission.CREATE_WORKSPACES}),
    "data_stewards": frozenset(
        {Permission.READ_ACCESS, Permission.EDIT_RULES, Permission.BREAK_GLASS, Permission.RECONCILE}
    ),
    "auditors": frozenset({Permission.READ_ACCESS, Permission.READ_AUDIT}),
}
_SERVICE_PERMISSIONS: dict[str, frozenset[Permission]] = {
    "seeder": frozenset(
        {Permission.READ_ACCESS, Permission.SEED, Permission.RECONCILE, Permission.OWN_FOR_ANY_GROUP}
    ),
}


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls. ``service`` is the client of a service account, None for a user; ``client`` is the one
    that asks, in the user's name."""

    username: str
    groups: frozenset[str]
    service: str | None
    client: str | None = None

    @property
    def permissions(self) -> frozenset[Permission]:
        """Of the service account, or of all the user's groups together."""
        if self.service is not None:
            return _SERVICE_PERMISSIONS.get(self.service, frozenset())
        return frozenset().union(*(_GROUP_PERMISSIONS.get(group, frozenset()) for group in self.groups))

    def require(self, permission: Permission) -> None:
        """Raises ForbiddenError unless the caller has ``permission``."""
        if permission in self.permissions:
            return
        may = sorted(group for group, held in _GROUP_PERMISSIONS.items() if permission in held)
        raise ForbiddenError(
            f"{self.username!r} may not {permission.value}",
            value=", ".join(sorted(self.groups)) or "no group",
            permitted=f"members of {', '.join(may)}",
            next_command="lab login, as one of them",
        )


class TokenVerifier:
    """Checks access tokens: RS256 by a key of the realm, issuer, audience, times.

    Args:
        issuer: the issuer that tokens name.
        signing_key: gives the key for a token; :func:`realm_keys` in service.
        audience: the service that tokens must be for.
    """

    def __init__(
        self, issuer: str, signing_key: Callable[[str], Any], audience: Audience = Audience.GOVERNOR
    ) -> None:
        self._issuer = issuer
        self._signing_key = signing_key
        self._audience = audience

    def caller(self, authorization: str | None) -> Caller:
        """The caller behind an ``Authorization`` header.

        Raises:
            UnauthenticatedError, ForbiddenError (a user in no group), IdentityUnavailableError.
        """
        claims = self.claims(bearer_token(authorization))
        username = claims["preferred_username"]
        azp = claims.get("azp")
        # The authorized party alone says which client asked; a client acts for itself only when the
        # token's user is its own service account.
        service = azp if azp and username == f"{_SERVICE_ACCOUNT_PREFIX}{azp}" else None
        if service is None and username.startswith(_SERVICE_ACCOUNT_PREFIX):
            raise UnauthenticatedError("the token's user and client do not belong together", value=username)
        return Caller(
            username=username,
            groups=frozenset() if service else _groups(claims, username),
            service=service,
            client=azp if isinstance(azp, str) else None,
        )

    def claims(self, token: str) -> dict[str, Any]:
        """What a valid access token says. Raises UnauthenticatedError, IdentityUnavailableError."""
        try:
            if jwt.get_unverified_header(token).get("alg") not in _ALGORITHMS:
                raise jwt.InvalidAlgorithmError("it is not signed with RS256")
            claims: dict[str, Any] = jwt.decode(
                token,
                self._signing_key(token),
                algorithms=list(_ALGORITHMS),
                audience=self._audience.value,
                issuer=self._issuer,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iat", "iss", "aud", "sub", "preferred_username"]},
            )
        except jwt.PyJWKClientConnectionError as error:
            raise IdentityUnavailableError(
                "Keycloak's keys can't be read, so that no token can be checked",
                next_command="lab logs keycloak",
            ) from error
        except (jwt.PyJWTError, ValueError) as error:
            raise UnauthenticatedError(
                f"the token is not valid here: {error}",
                permitted=f"a current access token of {self._issuer} for {self._audience.value!r}",
                next_command="lab login",
            ) from error
        # Keycloak signs ID tokens and access tokens with one key; `typ` tells them apart.
        if claims.get("typ") != "Bearer" or not isinstance(claims["preferred_username"], str):
            raise UnauthenticatedError("this is not an access token", value=claims.get("typ"))
        return claims


def bearer_token(authorization: str | None) -> str:
    """The token in an ``Authorization`` header. Raises UnauthenticatedError."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise UnauthenticatedError("this needs a token", permitted="Authorization: Bearer <access token>")
    return token.strip()


def realm_keys(jwks_url: str, tls: ssl.SSLContext | None = None) -> Callable[[str], Any]:
    """Gives the realm's key for a token; keys are cached, unknown ones asked for at most twice a minute."""
    client = jwt.PyJWKClient(
        jwks_url, lifespan=_JWKS_LIFESPAN_S, timeout=_JWKS_TIMEOUT_S, ssl_context=tls, cooldown_duration=30
    )
    return client.get_signing_key_from_jwt


def _groups(claims: dict[str, Any], username: str) -> frozenset[str]:
    groups = claims.get(GROUPS_CLAIM)
    if not isinstance(groups, list) or not groups or not all(isinstance(group, str) for group in groups):
        raise ForbiddenError(
            f"the token of {username!r} names no group",
            permitted=f"a member of a group, named in the claim {GROUPS_CLAIM!r}",
            next_command="ask a lab admin for a group",
        )
    return frozenset(group.removeprefix("/") for group in groups)
