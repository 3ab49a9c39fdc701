"""``lab:SamplePasswords``: new passwords of sample users who are there already, as a Pulumi resource.

A user's first password is given when the user is made and is that user's own from then on: nothing writes it
again. A rotation is the one exception. Each user's attribute tells which rotation reached them, so that each
comes once, whatever became of the stack in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from contracts.errors import LabError

if TYPE_CHECKING:
    import httpx

ATTRIBUTE = "labPasswordRotation"
_SECRETS = ("client_secret", "passwords")
_TIMEOUT_S = 30.0


class SamplePasswordsProvider(ResourceProvider):
    """``create`` and ``update`` converge, ``delete`` leaves everybody their password."""

    serialize_as_secret_always = False

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        compared = ("url", "realm", "client_id", "client_secret", "passwords", "rotation")
        return DiffResult(changes=any(olds.get(key) != news.get(key) for key in compared), replaces=[])

    def create(self, props: dict[str, Any]) -> CreateResult:
        converge(props)
        return CreateResult(id_=f"{props['realm']}/sample-passwords", outs=dict(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        converge(news)
        return UpdateResult(outs=dict(news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Keeps everything."""


def converge(props: Mapping[str, Any], transport: httpx.BaseTransport | None = None) -> list[str]:
    """Gives their new password to those users whom this rotation did not reach yet, and ends their sign-ins;
    who that was. A user who was removed stays so.

    ``passwords`` maps a user name to the password, ``rotation`` is the rotation's number as text.

    Raises:
        LabError: Keycloak can't be reached or refuses. What was done stays; the next run does the rest.
    """
    reached = []
    with _admin(props, transport) as admin:
        for username, password in sorted(props["passwords"].items()):
            found = _read(admin.get("/users", params={"username": username, "exact": "true"}))
            if not found:
                continue
            path = f"/users/{found[0]['id']}"
            user = _read(admin.get(path))
            attributes = user.get("attributes") or {}
            if attributes.get(ATTRIBUTE) == [str(props["rotation"])]:
                continue
            given = {"type": "password", "value": str(password), "temporary": False}
            admin.put(f"{path}/reset-password", json=given).raise_for_status()
            admin.post(f"{path}/logout").raise_for_status()
            # Last: what was not done to the end is done again.
            marked = {**user, "attributes": {**attributes, ATTRIBUTE: [str(props["rotation"])]}}
            admin.put(path, json=marked).raise_for_status()
            reached.append(username)
    return reached


@contextmanager
def _admin(props: Mapping[str, Any], transport: httpx.BaseTransport | None) -> Iterator[httpx.Client]:
    # It takes a fifth of a second to import; comparing inputs does not need it.
    import httpx

    url, realm = str(props["url"]), str(props["realm"])
    try:
        with httpx.Client(trust_env=False, timeout=_TIMEOUT_S, transport=transport) as client:
            answer = client.post(
                f"{url}/realms/master/protocol/openid-connect/token",
                data={"grant_type": "client_credentials"},
                auth=(str(props["client_id"]), str(props["client_secret"])),
            )
            client.headers["Authorization"] = f"Bearer {_read(answer)['access_token']}"
            client.base_url = httpx.URL(f"{url}/admin/realms/{realm}")
            yield client
    except httpx.HTTPError as error:
        raise LabError(
            f"Keycloak did not take the new passwords: {error}", value=url, next_command="lab logs keycloak"
        ) from error


def _read(answer: httpx.Response) -> Any:
    return answer.raise_for_status().json()


class SamplePasswords(Resource, module="lab", name="SamplePasswords"):
    """The passwords of a lab's sample users after a rotation."""

    def __init__(
        self,
        name: str,
        *,
        url: str,
        realm: str,
        client_id: str,
        client_secret: pulumi.Input[str],
        passwords: Mapping[str, pulumi.Input[str]],
        rotation: int,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            SamplePasswordsProvider(),
            name,
            {
                "url": url,
                "realm": realm,
                "client_id": client_id,
                "client_secret": pulumi.Output.secret(client_secret),
                "passwords": pulumi.Output.secret(dict(passwords)),
                "rotation": str(rotation),
            },
            pulumi.ResourceOptions.merge(
                opts, pulumi.ResourceOptions(additional_secret_outputs=list(_SECRETS))
            ),
        )
