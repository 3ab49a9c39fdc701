"""What goes wrong when people sign in."""

from __future__ import annotations

from contracts.errors import LabError
from governance.governor.auth import UnauthenticatedError


class SignInEndedError(UnauthenticatedError):
    """The sign-in is over: signed out, expired, or the account is disabled (401)."""


class SignInFailedError(LabError):
    """The browser came back from Keycloak without what a sign-in needs (400)."""


class CrossSiteError(LabError):
    """Another site's page caused the request (403)."""
