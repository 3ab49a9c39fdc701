"""The door: whose Spark code may run at all.

A driver reads files, and its user's code reads what the driver reads: no row filter or mask is applied on
the way. So Spark is for users whom no rule restricts. The catalog, which gives no access to files that a
rule protects, is what enforces this; the door says it in words, and keeps code from starting for nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from anyio import to_thread

from contracts.errors import LabError
from contracts.identity import Audience
from governance.client import GovernorClient, GovernorError, RawAccess
from governance.governor.auth import ForbiddenError
from spark_gateway.identity import Identity

_SHOWN_TABLES = 3


class UnavailableError(LabError):
    """Something that must be asked first does not answer (503)."""


class NotAdmittedError(ForbiddenError):
    """This user's code may not run in Spark (403)."""


class Door:
    """Asks the governor, with the user's own token. ``client`` makes a client from a token's provider."""

    def __init__(self, client: Callable[[Callable[[], str]], GovernorClient]) -> None:
        self._client = client

    async def admit(self, sign_in: Identity) -> None:
        """Returns when the user may use Spark.

        Raises:
            NotAdmittedError: rules restrict the user, or nothing may be read.
            UnavailableError: the governor can't say.
            SignInEndedError, IdentityUnavailableError: as ``SignIn.token``.
        """
        token = await sign_in.token(Audience.GOVERNOR)
        try:
            access = await to_thread.run_sync(self._ask, token.value)
        except GovernorError as error:
            if error.status == 403:
                raise nothing_granted(sign_in.username) from error
            raise UnavailableError(
                f"it can't be asked who may use Spark: {error.what}", next_command="lab logs governor"
            ) from error
        judge(access)

    def _ask(self, token: str) -> RawAccess:
        with self._client(lambda: token) as client:
            return client.raw_access()


def judge(access: RawAccess) -> None:
    """Raises NotAdmittedError unless a user with ``access`` may use Spark."""
    if access.restricted:
        tables = sorted(access.restricted)
        more = f" and {len(tables) - _SHOWN_TABLES} more" if len(tables) > _SHOWN_TABLES else ""
        raise NotAdmittedError(
            f"{access.username!r} may not run code in Spark: it reads files, where row and column rules are "
            f"not applied, and rules hold for this user on {', '.join(tables[:_SHOWN_TABLES])}{more}",
            value=", ".join(access.groups),
            permitted="users whom no row or column rule restricts; SQL on Trino is open to everybody",
            next_command=f'lab sql "…" --as {access.username}',
        )
    if not access.tables:
        raise nothing_granted(access.username)


def nothing_granted(username: str) -> NotAdmittedError:
    """The refusal of a user who can read no file."""
    return NotAdmittedError(
        f"{username!r} may not run code in Spark: there is no table whose files this user may read",
        permitted="members of groups that may write tables and that no rule restricts",
        next_command="ask a data steward for a grant",
    )
