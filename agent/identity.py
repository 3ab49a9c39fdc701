"""Users' identities: the token that somebody shows is exchanged at Keycloak, never passed on."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from anyio import from_thread

from agent.threads import in_thread
from contracts.identity import Audience
from governance.exchange import AccessToken, ShownToken, SignIn, SignInEndedError, TokenExchange
from governance.governor.auth import Caller, ForbiddenError, TokenVerifier

CLIENT_ID = "agent"
AUDIENCES = (Audience.TRINO, Audience.GOVERNOR)
"""Where the agent goes in a user's name; to the console too, where a lab runs it."""
_RENEWED_BEFORE_S = 30.0
_KEPT = 256
_KEPT_S = 240.0


@dataclass(frozen=True, kw_only=True)
class User:
    """Who asks, with the token that says so."""

    username: str
    groups: frozenset[str]
    token: str = field(repr=False)


async def user_of(verifier: TokenVerifier, authorization: str | None) -> User:
    """The person behind a header.

    Raises:
        UnauthenticatedError, ForbiddenError (no group, or a service account), IdentityUnavailableError.
    """
    # It may have to fetch the realm's keys.
    caller: Caller = await in_thread(verifier.caller, authorization)
    if caller.service is not None:
        raise ForbiddenError(
            "the agent answers people: a service account has no groups that could be asked for",
            value=caller.username,
            permitted="a token exchanged for a user",
        )
    return User(
        username=caller.username,
        groups=caller.groups,
        token=(authorization or "").partition(" ")[2].strip(),
    )


class Identities:
    """Tokens by the one that was shown, so that a chatty client does not cost exchanges at each request."""

    def __init__(self, exchange: TokenExchange, clock: Callable[[], float] = time.monotonic) -> None:
        self._exchange, self._clock = exchange, clock
        self._kept: OrderedDict[tuple[str, bool], tuple[float, UserTokens]] = OrderedDict()

    async def of(self, user: User, *, lasting: bool = True) -> UserTokens:
        """The user's tokens; ``lasting``: also beyond the end of the one that was shown, where the sign-in
        behind it allows that.

        Raises:
            SignInEndedError, IdentityUnavailableError.
        """
        key = hashlib.sha256(user.token.encode()).hexdigest(), lasting
        now = self._clock()
        until, tokens = self._kept.get(key, (0.0, None))
        if tokens is None or until <= now:
            tokens = await (self._lasting(user) if lasting else self._brief(user))
            self._kept[key] = (now + _KEPT_S, tokens)
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return tokens

    async def _lasting(self, user: User) -> UserTokens:
        try:
            return UserTokens(await self._exchange.exchange(user.username, user.token), self._clock)
        except SignInEndedError:
            # An offline sign-in gives no refresh tokens to others, and is as good until its token ends.
            return await self._brief(user)

    async def _brief(self, user: User) -> UserTokens:
        tokens = UserTokens(ShownToken(self._exchange, user.username, user.token), self._clock)
        await tokens.token(Audience.TRINO)
        return tokens


class UserTokens:
    """Current tokens of one user, renewed as long as their sign-in lasts."""

    def __init__(self, sign_in: SignIn | ShownToken, clock: Callable[[], float] = time.monotonic) -> None:
        self._sign_in, self._clock = sign_in, clock
        self._tokens: dict[Audience, tuple[float, AccessToken]] = {}
        self._guard = threading.Lock()

    async def token(self, audience: Audience) -> str:
        """A token for one audience. Raises SignInEndedError, IdentityUnavailableError."""
        with self._guard:
            until, kept = self._tokens.get(audience, (0.0, None))
        if kept is not None and until > self._clock():
            return kept.value
        fresh = await self._sign_in.token(audience)
        with self._guard:
            until = self._clock() + fresh.expires_in_s - _RENEWED_BEFORE_S
            self._tokens[audience] = (until, fresh)
        return fresh.value

    def from_thread(self, audience: Audience) -> str:
        """The same, from a worker thread of anyio's."""
        return from_thread.run(self.token, audience)
