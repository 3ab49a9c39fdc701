"""Signing in, querying, loading and seeding."""

from __future__ import annotations

import time
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.access import endpoint, governor_client, seeder_connection, session_file, user_tokens
from cli.components import saved_set
from cli.session import Session
from cli.tokens import (
    ProviderAwayError,
    load_tokens,
    save_tokens,
    sign_in_by_browser,
    sign_in_by_device,
    sign_out,
)
from contracts.errors import LabError, UsageError
from contracts.identity import Audience, lab_realm
from contracts.outputs import LabOutputs
from contracts.queues import workspace_tag
from contracts.settings import Role, environment

if TYPE_CHECKING:
    from governance.query import TrinoSession
    from ingestion.loading import Inspection, LoadOptions, LoadResult, Mode, OnProgress
    from seed.model import SeedReport, TableResult


@dataclass(frozen=True, kw_only=True)
class Login:
    """Who is signed in now."""

    username: str
    kept_in: str


def login(session: Session, *, device: bool = False) -> Login:
    """Signs a person in, by browser on this machine or by a code typed on any other (``device``).

    Raises:
        SignInError: it was refused or nobody came.
    """
    outputs = session.outputs()
    realm = endpoint(outputs)
    direct = environment("LAB_DIRECT_LOGIN", session.environ) == "1"
    if device:
        tokens = sign_in_by_device(realm, session.say)
    else:
        tokens = sign_in_by_browser(
            realm, session.say, open_page=(lambda _: False) if direct else webbrowser.open
        )
    path = session_file(session)
    save_tokens(path, tokens)
    return Login(username=tokens.username(), kept_in=str(path))


def logout(session: Session) -> bool:
    """Ends the sign-in, here and at the identity provider where that answers. Returns whether there was
    one."""
    path = session_file(session)
    there, tokens = path.exists(), load_tokens(path)
    path.unlink(missing_ok=True)
    if tokens is not None:
        # A lab that is down has no provider to tell; what is forgotten here is forgotten all the same.
        with suppress(LabError):
            sign_out(endpoint(session.outputs()), tokens)
    return there


@contextmanager
def sql(
    session: Session, *, persona: str | None = None, workspace: str | None = None
) -> Iterator[TrinoSession]:
    """A connection to Trino as the sample user ``persona``, or as whoever is signed in. In a ``workspace``
    tables named alone are its, and statements wait in its queue.

    Raises:
        UsageError: there is no such sample user.
        LabError: Trino is not part of this lab or does not answer, or nobody is signed in.
    """
    from governance.query import TrinoSession

    outputs = session.outputs()
    token = user_tokens(session, outputs, persona, Audience.TRINO)
    with TrinoSession(
        trino_url(session, outputs),
        token,
        outputs.ca_certificate,
        source="lab",
        namespace=workspace,
        client_tags=() if workspace is None else (workspace_tag(workspace),),
    ) as connection:
        yield connection


def token(session: Session, audience: Audience, *, persona: str | None = None) -> str:
    """A current access token for one service, of the sample user ``persona`` or of whoever is signed in.

    Raises:
        UsageError: there is no such sample user.
        LabError: nobody is signed in, or Keycloak does not answer.
    """
    return user_tokens(session, session.outputs(), persona, audience)()


def trino_url(session: Session, outputs: LabOutputs) -> str:
    """Where Trino is. Raises LabError when it is not among what runs."""
    if outputs.trino_url is None:
        raise LabError(
            f"Trino does not run in lab {session.lab.name!r}",
            permitted=", ".join(outputs.components),
            next_command="lab up trino" if "trino" not in saved_set(session.lab) else "lab up",
        )
    return outputs.trino_url


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A finished load. ``group`` owns the table; None when it was granted or owned before, as ``note``
    says."""

    result: LoadResult
    group: str | None
    note: str


def load(
    session: Session,
    files: Sequence[Path],
    table: str,
    *,
    mode: Mode,
    options: LoadOptions | None = None,
    reject: Path | None = None,
    persona: str | None = None,
    approve: Callable[[Inspection], None],
    progress: OnProgress | None = None,
) -> Loaded:
    """Loads files into a table with the user's own rights, then notes whose the table is.

    Args:
        mode: create, append or replace.
        persona: the sample user to load as; None: whoever is signed in.
        approve: is shown the schema and raises to stop before anything is written.

    Raises:
        UsageError, BadRowsError, LabError: as ``ingestion.ingest.load``; nothing was committed.
    """
    from cli.user_catalog import open_user_catalog
    from ingestion import ingest
    from ingestion.loading import Mode as LoadMode

    inspection = ingest.inspect(files, options)
    approve(inspection)
    outputs = session.outputs()
    catalog = open_user_catalog(outputs, user_tokens(session, outputs, persona, Audience.CATALOG))
    with _refusals_named(table):
        result = ingest.load(
            files,
            table,
            catalog=catalog,
            mode=mode,
            options=options,
            reject=reject,
            progress=progress,
            inspection=inspection,
        )
    if mode is LoadMode.APPEND:
        return Loaded(result=result, group=None, note="")
    group, note = _register_owner(session, outputs, persona, table)
    return Loaded(result=result, group=group, note=note)


@contextmanager
def _refusals_named(table: str) -> Iterator[None]:
    """Says a catalog's refusal in the lab's own words; Nessie puts its into a server error."""
    from pyiceberg.exceptions import RESTError
    from requests import RequestException

    try:
        yield
    except RequestException as error:
        raise LabError(
            f"the catalog went away while {table} was loaded: {error}",
            value=table,
            permitted="nothing was committed",
            next_command="lab doctor --fix, then the same command again",
        ) from error
    except RESTError as error:
        raise LabError(
            f"the catalog refused to load into {table}: {error}",
            value=table,
            permitted="a namespace where one of the user's groups may create tables and write",
            next_command="lab load … --as engineer, or ask a lab admin for a grant",
        ) from error


_PATIENCE_S = 60.0
_PAUSE_S = 1.0
_AWAY = (None, 502, 503, 504)


def _register_owner(
    session: Session, outputs: LabOutputs, persona: str | None, table: str
) -> tuple[str | None, str]:
    """Gives a new table to its loader's group. The rows are committed by now, so a refusal is a note, and
    a service that restarts is waited for."""
    from governance.client import GovernorClient, GovernorError

    token = user_tokens(session, outputs, persona, Audience.GOVERNOR)
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with GovernorClient(outputs.governor_url, token) as client:
                known = lab_realm(session.lab.name).persona(persona) if persona else None
                groups = known.groups if known else client.effective_access().groups
                if not groups:
                    return None, "its loader is in no group, so nobody can read it until it is granted"
                return client.register_owner(table, groups[0]).group, ""
        except LabError as error:
            away = isinstance(error, ProviderAwayError) or (
                isinstance(error, GovernorError) and error.status in _AWAY
            )
            if not away or time.monotonic() > deadline:
                return None, error.what
        time.sleep(_PAUSE_S)


@dataclass(frozen=True, kw_only=True)
class Seeded:
    """What ``lab seed`` did. ``access_revision`` is None when access data was not asked for."""

    tables: SeedReport | None
    access_revision: int | None
    access_changed: bool
    access_kept: int


ACCESS = "access"
"""The word for access data among what can be seeded."""


def seed(
    session: Session,
    what: Sequence[str] = (),
    *,
    reset: Sequence[str] = (),
    progress: Callable[[str, TableResult], None] | None = None,
) -> Seeded:
    """Brings sample tables and access data to what the repository declares, leaving edits alone.

    Args:
        what: ``all``, a namespace, a table, ``access``; empty means everything.
        reset: of these, what is restored although people changed it.

    Raises:
        UsageError: a name is unknown; nothing was changed.
        LabError: a service does not answer, or a verified count is not the declared one.
    """
    from cli.project import settings
    from seed.access import access_digest, read_access_data, seed_access
    from seed.catalogue import ALL, seed_tables_for, select
    from seed.model import SeedOptions
    from seed.tables import seed_tables

    options = SeedOptions(
        scale_factor=settings(session.lab, Role.LAB, session.environ).scale_factor
        if session.lab.exists
        else 0.1
    )
    chosen = list(what) or ([ALL, ACCESS] if not reset else list(reset))
    table_names = [name for name in chosen if name != ACCESS]
    table_resets = [name for name in reset if name != ACCESS]
    select(seed_tables_for(options), [*table_names, *table_resets])
    outputs = session.outputs()
    connection = seeder_connection(session, outputs)
    report = None
    if table_names or table_resets:
        report = seed_tables(connection, options, what=table_names, reset=table_resets, progress=progress)
    if ACCESS not in chosen and ACCESS not in reset:
        return Seeded(tables=report, access_revision=None, access_changed=False, access_kept=0)
    document = read_access_data()
    access = seed_access(connection, document, access_digest(document), reset=ACCESS in reset)
    return Seeded(
        tables=report,
        access_revision=access.revision,
        access_changed=access.changed,
        access_kept=access.kept,
    )


def require_table_name(table: str) -> str:
    """Raises UsageError unless ``table`` is ``namespace.name``."""
    parts = table.split(".")
    if len(parts) != 2 or not all(parts):
        raise UsageError(
            "a table is named by namespace and name",
            value=table,
            permitted="namespace.name",
            next_command="lab load FILE --table raw.orders",
        )
    return table


def governor_status_line(session: Session) -> str:
    """The governor's standing errors in one line, empty when all is well."""
    with governor_client(session, session.outputs()) as client:
        errors = client.status().errors
    return "; ".join(f"{activity}: {text}" for activity, text in errors.items())
