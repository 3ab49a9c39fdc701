"""In whose name jobs run: an offline token that its owner let the console keep, or a sign-in of theirs.

https://openid.net/specs/openid-connect-core-1_0.html#OfflineAccess
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from anyio import to_thread
from sqlalchemy import delete, select
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session as Transaction
from sqlalchemy.orm import sessionmaker

from contracts.errors import LabError
from contracts.identity import Audience
from control_plane.api.identity.errors import SignInEndedError, SignInFailedError
from control_plane.api.identity.keycloak import Attempt, OfflineAccess, Realm
from control_plane.api.identity.people import person_of
from control_plane.api.identity.sealing import Sealer, UnsealError
from control_plane.api.identity.sessions import Sessions, Signed
from control_plane.api.jobs.ledger import Ledger
from control_plane.api.schemas.jobs import JobPermission, Pause
from control_plane.api.storage.job_models import PermissionRow
from control_plane.api.storage.sessions import Person
from governance.governor.auth import ForbiddenError, IdentityUnavailableError, TokenVerifier

log = logging.getLogger(__name__)

T = TypeVar("T")

_EARLY_S = 30.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0


class RightsGoneError(ForbiddenError):
    """The owner's rights don't carry the job any more (403)."""


@dataclass(frozen=True, kw_only=True)
class _Current:
    """An access token of an owner's, from their offline token."""

    person: Person
    subject_token: str = field(repr=False)
    ends_at: float


class Permissions:
    """Permissions of all owners.

    Args:
        verifier: checks access tokens for audience ``control-plane``.
    """

    def __init__(
        self,
        sessions: sessionmaker[Transaction],
        sealer: Sealer,
        realm: Realm,
        signed: Sessions,
        verifier: TokenVerifier,
        ledger: Ledger,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sessions, self._sealer, self._realm, self._ledger = sessions, sealer, realm, ledger
        self._signed, self._verifier, self._clock = signed, verifier, clock
        self._current: dict[str, _Current] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def accept(self, code: str, attempt: Attempt, person: Person) -> None:
        """Keeps the offline token that a code stands for, for ``person``, who is signed in.

        Raises:
            SignInFailedError: another one signed in at Keycloak. IdentityUnavailableError.
        """
        access, id_claims = await self._realm.redeem_offline(code, attempt)
        claims = await to_thread.run_sync(self._verifier.claims, access.access_token)
        found = person_of({**id_claims, **claims})
        if found.subject != person.subject or id_claims["sub"] != person.subject:
            await self._realm.revoke(access.token)
            raise SignInFailedError(
                f"{found.username!r} signed in at Keycloak, but the session here is another's",
                permitted=person.username,
                next_command="sign out, and sign in as the one whose jobs they are",
            )
        await to_thread.run_sync(self._keep, found, access)
        self._remember(found, access)

    async def withdraw(self, owner: str) -> None:
        """Takes a permission back, here and at Keycloak; the owner's jobs rest. Raises
        IdentityUnavailableError: nothing was changed."""
        token = await to_thread.run_sync(self._token, owner)
        if token is not None:
            await self._realm.revoke(token)
        self._current.pop(owner, None)
        await to_thread.run_sync(self._remove, owner)

    def get(self, owner: str) -> JobPermission:
        """The owner's permission. In a worker thread."""
        with self._sessions() as transaction:
            row = transaction.get(PermissionRow, owner)
            if row is None:
                return JobPermission(
                    granted=False, granted_at=None, checked_at=None, groups=[], ended_reason=None
                )
            return JobPermission(
                granted=row.ended_reason is None,
                granted_at=row.granted_at,
                checked_at=row.checked_at,
                groups=row.groups,
                ended_reason=row.ended_reason,
            )

    async def person(self, owner: str) -> Person:
        """The owner as Keycloak knows them now. One who is in no group any more has lost the permission.

        Raises:
            RightsGoneError, IdentityUnavailableError.
        """
        return (await self._fresh(owner, older_than=self._clock())).person

    async def token(self, owner: str, audience: Audience) -> str:
        """A token in the owner's name. Raises RightsGoneError, IdentityUnavailableError."""
        current = await self._fresh(owner)
        try:
            return (await self._signed.exchanges.token(current.subject_token, audience)).value
        except SignInEndedError as error:
            await self._ended(owner, error.what)
            raise _gone(owner, error.what) from error

    async def check_all(self) -> None:
        """Asks Keycloak for everybody who gave a permission whether it still holds."""
        for owner in await to_thread.run_sync(self._owners):
            try:
                await self.person(owner)
            except RightsGoneError as error:
                log.info("jobs of %s rest: %s", owner, error.what)
            except (LabError, SQLAlchemyError) as error:
                log.warning("the permission of %s could not be checked: %s", owner, error)

    async def _fresh(self, owner: str, older_than: float | None = None) -> _Current:
        """An access token that is current; with ``older_than`` one that was given since."""
        lock = self._locks.setdefault(owner, asyncio.Lock())
        async with lock:
            kept = self._current.get(owner)
            if older_than is None and kept is not None and kept.ends_at - _EARLY_S > self._clock():
                return kept
            token = await to_thread.run_sync(self._token, owner)
            if token is None:
                raise _gone(owner, "there is no permission")
            try:
                access = await self._realm.refresh_offline(token)
                claims = await to_thread.run_sync(self._verifier.claims, access.access_token)
            except SignInEndedError as error:
                await self._ended(owner, error.what)
                raise _gone(owner, error.what) from error
            person = person_of(claims)
            if not person.groups:
                reason = f"{owner!r} is in no group any more"
                await self._ended(owner, reason)
                raise _gone(owner, reason)
            await to_thread.run_sync(self._checked, person, access)
            return self._remember(person, access)

    def _remember(self, person: Person, access: OfflineAccess) -> _Current:
        current = _Current(person=person, subject_token=access.access_token, ends_at=access.access_ends_at)
        self._current[person.username] = current
        return current

    async def _ended(self, owner: str, reason: str) -> None:
        self._current.pop(owner, None)
        await to_thread.run_sync(self._note_ended, owner, reason)

    def _note_ended(self, owner: str, reason: str) -> None:
        with self._sessions.begin() as transaction:
            self._ledger.permission_ended(transaction, owner, Pause.RIGHTS, reason)
            row = transaction.get(PermissionRow, owner)
            if row is not None:
                row.ended_reason, row.checked_at = reason, datetime.now(tz=UTC)

    def _keep(self, person: Person, access: OfflineAccess) -> None:
        now = datetime.now(tz=UTC)
        with self._sessions.begin() as transaction:
            row = transaction.get(PermissionRow, person.username) or PermissionRow(owner=person.username)
            row.subject, row.groups = person.subject, sorted(person.groups)
            row.token = self._sealer.seal(access.token.encode(), person.username)
            row.granted_at, row.checked_at, row.ended_reason = now, now, None
            transaction.add(row)
            self._ledger.permission_given(transaction, person.username)

    def _checked(self, person: Person, access: OfflineAccess) -> None:
        with self._sessions.begin() as transaction:
            row = transaction.get(PermissionRow, person.username)
            if row is not None and row.ended_reason is None:
                row.groups, row.checked_at = sorted(person.groups), datetime.now(tz=UTC)
                row.token = self._sealer.seal(access.token.encode(), person.username)

    def _token(self, owner: str) -> str | None:
        with self._sessions() as transaction:
            row = transaction.get(PermissionRow, owner)
            if row is None or row.ended_reason is not None:
                return None
            try:
                return self._sealer.unseal(row.token, owner).decode()
            except UnsealError:
                return None

    def _remove(self, owner: str) -> None:
        with self._sessions.begin() as transaction:
            reason = f"{owner} took back the permission to run jobs for them"
            self._ledger.permission_ended(transaction, owner, Pause.PERMISSION, reason)
            transaction.execute(delete(PermissionRow).where(PermissionRow.owner == owner))

    def _owners(self) -> list[str]:
        with self._sessions() as transaction:
            wanted = select(PermissionRow.owner).where(PermissionRow.ended_reason.is_(None))
            return list(transaction.scalars(wanted))


class Identity:
    """Whose rights one run has. While Keycloak does not answer it waits."""

    def __init__(
        self, permissions: Permissions, sessions: Sessions, owner: str, session_key: str | None
    ) -> None:
        self._permissions, self._sessions = permissions, sessions
        self.owner, self._session_key = owner, session_key

    @property
    def by_permission(self) -> bool:
        """Whether it runs by the owner's permission, not by a sign-in."""
        return self._session_key is None

    async def person(self) -> Person:
        """The owner as they are now. Raises RightsGoneError."""
        if self._session_key is None:
            return await _patiently(partial(self._permissions.person, self.owner))
        return (await self._signed(self._session_key)).person

    async def token(self, audience: Audience) -> str:
        """A token for ``audience``. Raises RightsGoneError."""
        if self._session_key is None:
            return await _patiently(partial(self._permissions.token, self.owner, audience))
        signed = await self._signed(self._session_key)
        exchange = partial(self._sessions.exchanges.token, signed.subject_token, audience)
        try:
            return (await _patiently(exchange)).value
        except SignInEndedError as error:
            raise _gone(self.owner, error.what) from error

    async def _signed(self, key: str) -> Signed:
        try:
            return await _patiently(partial(self._sessions.by_key, key))
        except SignInEndedError as error:
            raise _gone(self.owner, error.what) from error


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """What Keycloak says, as soon as it and the database say something."""
    pause = _FIRST_PAUSE_S
    while True:
        try:
            return await ask()
        except (IdentityUnavailableError, OperationalError):
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)


def _gone(owner: str, reason: str) -> RightsGoneError:
    return RightsGoneError(
        f"the job can't run as {owner!r}: {reason}",
        permitted="an owner who is signed in, or let the console run jobs for them",
        next_command="give the permission on the page of jobs",
    )
