"""Sessions with living tokens: refreshed when due, exchanged for each service, gone when Keycloak says so."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from anyio import to_thread

from contracts.identity import Audience
from control_plane.api.identity.errors import SignInEndedError
from control_plane.api.identity.keycloak import AccessToken, Attempt, Ended, Realm
from control_plane.api.identity.people import person_of
from control_plane.api.storage.sessions import Person, SessionStore, StoredSession, session_key
from governance.governor.auth import TokenVerifier, UnauthenticatedError

_EARLY_S = 30.0
_CACHED_TOKENS = 2000


@dataclass(frozen=True, kw_only=True)
class Signed:
    """Somebody who showed who they are. ``session`` is None for a bearer token."""

    person: Person
    session: StoredSession | None
    subject_token: str = field(repr=False)


class Exchanges:
    """Tokens for other services, kept until shortly before they end."""

    def __init__(self, realm: Realm, clock: Callable[[], float] = time.time) -> None:
        self._realm, self._clock = realm, clock
        self._kept: OrderedDict[tuple[str, Audience], AccessToken] = OrderedDict()
        self._locks: dict[tuple[str, Audience], asyncio.Lock] = {}

    async def token(self, subject_token: str, audience: Audience) -> AccessToken:
        """A token for ``audience`` in the name of the subject token's user.

        Raises:
            SignInEndedError, IdentityUnavailableError.
        """
        key = (hashlib.sha256(subject_token.encode()).hexdigest(), audience)
        lock = self._locks.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                kept = self._kept.get(key)
                if kept is None or kept.ends_at - _EARLY_S <= self._clock():
                    kept = self._kept[key] = await self._realm.exchange(subject_token, audience)
                self._kept.move_to_end(key)
        finally:
            if not lock.locked():
                self._locks.pop(key, None)
        while len(self._kept) > _CACHED_TOKENS:
            self._kept.popitem(last=False)
        return kept


class Sessions:
    """The sessions of this console.

    Args:
        verifier: checks access tokens for audience ``control-plane``.
    """

    def __init__(
        self,
        store: SessionStore,
        realm: Realm,
        verifier: TokenVerifier,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._realm, self._verifier, self._clock = store, realm, verifier, clock
        self._refreshing: dict[str, asyncio.Lock] = {}
        self.exchanges = Exchanges(realm, clock)

    async def open(self, code: str, attempt: Attempt, old_cookie: str | None) -> str:
        """Redeems a code; returns the new session's cookie. The browser's old session ends.

        Raises:
            SignInFailedError, IdentityUnavailableError, UnauthenticatedError.
        """
        tokens, id_claims = await self._realm.redeem(code, attempt)
        claims = await to_thread.run_sync(self._verifier.claims, tokens.access_token)
        if claims["sub"] != id_claims["sub"]:
            raise UnauthenticatedError("access token and ID token are of two people")
        person = person_of({**id_claims, **claims, "sid": id_claims.get("sid") or claims.get("sid")})
        if old_cookie is not None:
            await to_thread.run_sync(self._store.remove, session_key(old_cookie))
        return await to_thread.run_sync(self._store.create, person, tokens)

    async def by_cookie(self, cookie: str) -> Signed:
        """The session of a cookie, with tokens that are current.

        Raises:
            SignInEndedError, IdentityUnavailableError, sqlalchemy.exc.OperationalError.
        """
        return await self.by_key(session_key(cookie))

    async def by_key(self, key: str) -> Signed:
        """The same by the session's key."""
        found = await self._load(key)
        if self._is_due(found):
            lock = self._refreshing.setdefault(key, asyncio.Lock())
            try:
                # A refresh token may be good for one use only.
                async with lock:
                    found = await self._load(key)
                    if self._is_due(found):
                        found = await self._refresh(found)
            finally:
                if not lock.locked():
                    self._refreshing.pop(key, None)
        return Signed(person=found.person, session=found, subject_token=found.tokens.access_token)

    async def renew(self, signed: Signed) -> None:
        """Asks Keycloak for tokens that say what is so now; of a bearer token there is nothing to renew.

        Raises:
            SignInEndedError, IdentityUnavailableError.
        """
        if signed.session is None:
            return
        key = signed.session.key
        lock = self._refreshing.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                await self._refresh(await self._load(key))
        finally:
            if not lock.locked():
                self._refreshing.pop(key, None)

    async def by_token(self, token: str) -> Signed:
        """The user of a bearer token. Raises UnauthenticatedError, IdentityUnavailableError."""
        claims = await to_thread.run_sync(self._verifier.claims, token)
        return Signed(person=person_of(claims), session=None, subject_token=token)

    async def close(self, session: StoredSession) -> None:
        """Ends a session here."""
        await to_thread.run_sync(self._store.remove, session.key)

    async def end(self, ended: Ended) -> int:
        """Ends what Keycloak ended; returns how many."""
        return len(await to_thread.run_sync(self._store.remove_ended, ended))

    async def end_others(self, own: StoredSession | None) -> int:
        """Ends all sessions but one's own, with the tokens in them; returns how many."""
        return await to_thread.run_sync(self._store.remove_others, None if own is None else own.key)

    async def forget_expired(self) -> int:
        """Removes sessions past their end."""
        return await to_thread.run_sync(self._store.remove_expired)

    async def _load(self, key: str) -> StoredSession:
        found = await to_thread.run_sync(self._store.get, key)
        if found is None:
            raise SignInEndedError("the session has ended", next_command="sign in again")
        return found

    def _is_due(self, session: StoredSession) -> bool:
        return session.tokens.access_ends_at - _EARLY_S <= self._clock()

    async def _refresh(self, session: StoredSession) -> StoredSession:
        try:
            tokens = await self._realm.refresh(session.tokens)
            claims = await to_thread.run_sync(self._verifier.claims, tokens.access_token)
        except SignInEndedError:
            await to_thread.run_sync(self._store.remove, session.key)
            raise
        before = session.person
        told = {"name": before.display_name, "email": before.email, "sid": before.sid}
        person = person_of({**told, **claims})
        await to_thread.run_sync(self._store.update, session.key, person, tokens)
        return StoredSession(key=session.key, person=person, tokens=tokens)
