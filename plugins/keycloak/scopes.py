"""Which client scopes a client has by default and which on request: exactly those declared."""

from __future__ import annotations

from typing import ClassVar

from contracts.errors import LabError
from plugins.keycloak.api import Admin, path_of
from plugins.keycloak.representation import REALM
from plugins.kinds import TEXT_SET
from plugins.resource import Field, ResourceType, State, Update, import_parts
from plugins.values import Props


class ClientScopes(ResourceType[Admin]):
    """The scopes of one client in one of the two lists; ``clientId`` is the client's uuid."""

    names_field: ClassVar[str]
    collection: ClassVar[str]
    other: ClassVar[str]

    def create(self, session: Admin, inputs: Props) -> State:
        client = path_of("realms", inputs["realmId"], "clients", inputs["clientId"])
        attached = self._attached(session, client, self.collection)
        if attached is None:
            raise self._no_client(inputs)
        wanted = set(inputs[self.names_field])
        for name in sorted(attached.keys() - wanted):
            session.delete(f"{client}/{self.collection}/{path_of(attached[name])}")
        if missing := sorted(wanted - attached.keys()):
            ids = self._scope_ids(session, inputs["realmId"])
            elsewhere = self._attached(session, client, self.other) or {}
            for name in missing:
                if name not in ids:
                    raise LabError(
                        f"there is no client scope {name!r} in realm {inputs['realmId']!r}",
                        value=name,
                        permitted=", ".join(sorted(ids)),
                    )
                # Keycloak ignores a scope that is attached in the other list.
                if name in elsewhere:
                    session.delete(f"{client}/{self.other}/{path_of(ids[name])}")
                session.put(f"{client}/{self.collection}/{path_of(ids[name])}", None)
        state = self.read(session, "", inputs, {})
        if state is None:
            raise self._no_client(inputs)
        return state

    def update(self, session: Admin, update: Update) -> State:
        return self.create(session, update.declared)

    def read(self, session: Admin, ident: str, inputs: Props, recorded: Props) -> State | None:
        place = {**recorded, **inputs}
        if not place:
            realm, client_id = import_parts(self.token, ident, "realm/client-uuid")
            place = {"realmId": realm, "clientId": client_id}
        client = path_of("realms", place["realmId"], "clients", place["clientId"])
        attached = self._attached(session, client, self.collection)
        if attached is None:
            return None
        names = TEXT_SET.shown(place.get(self.names_field), sorted(attached))
        outputs = {"realmId": place["realmId"], "clientId": place["clientId"], self.names_field: names}
        return State(id=f"{place['realmId']}/{place['clientId']}", outputs=outputs)

    def delete(self, session: Admin, ident: str, recorded: Props) -> None:
        client = path_of("realms", recorded["realmId"], "clients", recorded["clientId"])
        attached = self._attached(session, client, self.collection) or {}
        for name in recorded.get(self.names_field, ()):
            if name in attached:
                session.delete(f"{client}/{self.collection}/{path_of(attached[name])}")

    def _attached(self, session: Admin, client: str, collection: str) -> dict[str, str] | None:
        found = session.get(f"{client}/{collection}")
        return None if found is None else {scope["name"]: scope["id"] for scope in found}

    def _scope_ids(self, session: Admin, realm: str) -> dict[str, str]:
        found = session.get(path_of("realms", realm, "client-scopes"))
        return {scope["name"]: scope["id"] for scope in found or []}

    def _no_client(self, props: Props) -> LabError:
        return LabError(
            f"there is no client {props['clientId']!r} in realm {props['realmId']!r}",
            value=props["clientId"],
            permitted="the client's uuid (the resource's id), not its client id",
        )


def _fields(names_field: str) -> tuple[Field, ...]:
    return (
        REALM,
        Field(name="clientId", required=True, key=True, replace=True),
        Field(name=names_field, kind=TEXT_SET, required=True),
    )


class ClientDefaultScopes(ClientScopes):
    """Scopes in every token of the client."""

    token = "keycloak:openid/clientDefaultScopes:ClientDefaultScopes"
    names_field, collection, other = "defaultScopes", "default-client-scopes", "optional-client-scopes"
    fields = _fields("defaultScopes")


class ClientOptionalScopes(ClientScopes):
    """Scopes the client may ask for."""

    token = "keycloak:openid/clientOptionalScopes:ClientOptionalScopes"
    names_field, collection, other = "optionalScopes", "optional-client-scopes", "default-client-scopes"
    fields = _fields("optionalScopes")
