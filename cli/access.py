"""Connections of the command line to the lab's services, each with the caller's own token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cli.session import Session
from cli.tokens import Endpoint, PersonaTokens, UserTokens, require_persona
from contracts.identity import Audience
from contracts.outputs import LabOutputs
from governance.client import GovernorClient

if TYPE_CHECKING:
    from seed.connection import Connection

SEEDER_CLIENT = "seeder"


def session_file(session: Session) -> Path:
    """Where the sign-in of ``lab login`` is kept (0600)."""
    return session.lab.secrets_dir / "session.json"


def endpoint(outputs: LabOutputs) -> Endpoint:
    """The lab's realm."""
    return Endpoint(issuer_url=outputs.issuer_url, realm_url=outputs.own_realm_url)


def token_url(outputs: LabOutputs) -> str:
    return f"{outputs.own_realm_url}/protocol/openid-connect/token"


def user_tokens(
    session: Session, outputs: LabOutputs, persona: str | None, audience: Audience
) -> Callable[[], str]:
    """Tokens of the sample user ``persona``, or of whoever is signed in.

    Raises:
        UsageError: there is no such sample user (nearest suggested).
    """
    if persona is None:
        return UserTokens(endpoint(outputs), session_file(session), audience)
    require_persona(session.lab.name, persona)
    secrets = session.slot().secrets
    return PersonaTokens(
        endpoint(outputs),
        username=persona,
        password=secrets.persona_passwords[persona],
        client_secret=secrets.client_secrets["personas"],
        audience=audience,
    )


def governor_client(session: Session, outputs: LabOutputs, persona: str | None = None) -> GovernorClient:
    """The governor, asked as ``persona`` or, where nobody is named, as the lab's own seeding client."""
    if persona is not None:
        return GovernorClient(outputs.governor_url, user_tokens(session, outputs, persona, Audience.GOVERNOR))
    return GovernorClient(outputs.governor_url, seeder_connection(session, outputs).token_provider())


def seeder_connection(session: Session, outputs: LabOutputs) -> Connection:
    """The catalog and the governor as the lab's own seeding client sees them."""
    from seed.connection import Connection

    return Connection(
        catalog_uri=outputs.catalog_uri,
        warehouse=outputs.catalog_warehouse,
        token_url=token_url(outputs),
        client_id=SEEDER_CLIENT,
        client_secret=session.slot().secrets.client_secrets[SEEDER_CLIENT],
        governor_url=outputs.governor_url,
        properties=outputs.file_properties,
    )
