"""Browsers' sign-ins in the database."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import CursorResult, delete, select
from sqlalchemy.orm import Session as Transaction
from sqlalchemy.orm import sessionmaker

from control_plane.api.identity.keycloak import Ended, TokenSet
from control_plane.api.identity.sealing import Sealer, UnsealError
from control_plane.api.storage.models import SessionRow


@dataclass(frozen=True, kw_only=True)
class Person:
    """Who signed in, as the access token says."""

    username: str
    display_name: str
    email: str | None
    groups: frozenset[str]
    subject: str
    sid: str | None


@dataclass(frozen=True, kw_only=True)
class StoredSession:
    """A session. ``key`` names it everywhere but in the cookie."""

    key: str
    person: Person
    tokens: TokenSet = field(repr=False)


class SessionStore:
    """Sessions by what their cookie holds. Methods raise sqlalchemy.exc.OperationalError."""

    def __init__(self, sessions: sessionmaker[Transaction], sealer: Sealer) -> None:
        self._sessions, self._sealer = sessions, sealer

    def create(self, person: Person, tokens: TokenSet) -> str:
        """A new session; returns what its cookie holds, which is kept nowhere else."""
        cookie = secrets.token_urlsafe(32)
        key = session_key(cookie)
        row = SessionRow(
            id_hash=key, subject=person.subject, sid=person.sid, **self._values(key, person, tokens)
        )
        with self._sessions.begin() as transaction:
            transaction.add(row)
        return cookie

    def get(self, key: str) -> StoredSession | None:
        """The session of that key; None when there is none, it has ended, or its tokens can't be read."""
        with self._sessions() as transaction:
            row = transaction.get(SessionRow, key)
            if row is None or row.ends_at <= datetime.now(tz=UTC):
                return None
            try:
                tokens = TokenSet(**json.loads(self._sealer.unseal(row.tokens, key)))
            except UnsealError:
                return None
            person = Person(
                username=row.username,
                display_name=row.display_name,
                email=row.email,
                groups=frozenset(row.groups),
                subject=row.subject,
                sid=row.sid,
            )
            return StoredSession(key=key, person=person, tokens=tokens)

    def update(self, key: str, person: Person, tokens: TokenSet) -> None:
        """Replaces tokens and what they say; one that is gone stays gone."""
        with self._sessions.begin() as transaction:
            row = transaction.get(SessionRow, key)
            if row is not None:
                for name, value in self._values(key, person, tokens).items():
                    setattr(row, name, value)

    def remove(self, key: str) -> bool:
        """Ends a session. Returns whether there was one."""
        with self._sessions.begin() as transaction:
            return _count(transaction, delete(SessionRow).where(SessionRow.id_hash == key)) > 0

    def remove_ended(self, ended: Ended) -> list[str]:
        """Ends those that Keycloak ended, without a ``sid`` all of the subject; returns their keys."""
        by_session = ended.session is not None
        wanted = SessionRow.sid == ended.session if by_session else SessionRow.subject == ended.subject
        with self._sessions.begin() as transaction:
            keys = list(transaction.scalars(select(SessionRow.id_hash).where(wanted)))
            transaction.execute(delete(SessionRow).where(SessionRow.id_hash.in_(keys)))
        return keys

    def remove_others(self, kept: str | None) -> int:
        """Ends all sessions but that of a key; returns how many."""
        wanted = delete(SessionRow)
        if kept is not None:
            wanted = wanted.where(SessionRow.id_hash != kept)
        with self._sessions.begin() as transaction:
            return _count(transaction, wanted)

    def remove_expired(self) -> int:
        """Removes those past their end."""
        with self._sessions.begin() as transaction:
            return _count(transaction, delete(SessionRow).where(SessionRow.ends_at < datetime.now(tz=UTC)))

    def _values(self, key: str, person: Person, tokens: TokenSet) -> dict[str, Any]:
        return {
            "username": person.username,
            "display_name": person.display_name,
            "email": person.email,
            "groups": sorted(person.groups),
            "tokens": self._sealer.seal(json.dumps(asdict(tokens)).encode(), key),
            "access_ends_at": datetime.fromtimestamp(tokens.access_ends_at, tz=UTC),
            "ends_at": datetime.fromtimestamp(tokens.sign_in_ends_at, tz=UTC),
        }


def session_key(cookie: str) -> str:
    """How the database names the session of a cookie."""
    return hashlib.sha256(cookie.encode()).hexdigest()


def _count(transaction: Transaction, statement: Any) -> int:
    return cast(CursorResult[Any], transaction.execute(statement)).rowcount
