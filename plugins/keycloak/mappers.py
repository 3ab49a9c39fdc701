"""Protocol mappers of clients and client scopes: what goes into tokens.

Configuration keys: https://www.keycloak.org/docs/latest/server_admin/#_protocol-mappers
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from contracts.errors import LabError
from plugins.keycloak.api import Admin, path_of
from plugins.keycloak.representation import REALM, Rep, Represented
from plugins.kinds import TEXT, TEXT_BOOL, Kind
from plugins.resource import KEEP, Field, State
from plugins.values import Props

_VALUE_TYPES = ("JSON", "String", "long", "int", "boolean")


def _config(name: str, key: str, kind: Kind = TEXT, default: object = KEEP, required: bool = False) -> Field:
    return Field(name=name, path=("config", key), kind=kind, default=default, required=required)


def _common(name_default: str | None = None) -> tuple[Field, ...]:
    return (
        REALM,
        Field(name="clientId", key=True, replace=True),
        Field(name="clientScopeId", key=True, replace=True),
        Field(name="name", path=("name",), key=True, replace=True, default=name_default or KEEP),
    )


_ACCESS = _config("addToAccessToken", "access.token.claim", TEXT_BOOL, True)
_ID = _config("addToIdToken", "id.token.claim", TEXT_BOOL, True)
_USERINFO = _config("addToUserinfo", "userinfo.token.claim", TEXT_BOOL, True)
_INTROSPECTION = _config("addToTokenIntrospection", "introspection.token.claim", TEXT_BOOL, True)
_CLAIM = _config("claimName", "claim.name", required=True)
_TYPE = Field(
    name="claimValueType", path=("config", "jsonType.label"), default="String", choices=_VALUE_TYPES
)
_MULTIVALUED = _config("multivalued", "multivalued", TEXT_BOOL, False)


class Mapper(Represented):
    """A mapper; the natural key is its client or client scope, and its name."""

    mapper: ClassVar[str]
    auto_name = "name"

    def validate(self, inputs: Props) -> Mapping[str, str]:
        given = [name for name in ("clientId", "clientScopeId") if name in inputs]
        if len(given) != 1:
            return {"clientId": "exactly one of clientId and clientScopeId says where the mapper belongs"}
        return {}

    def new(self, inputs: Props) -> Rep:
        rep = super().new(inputs)
        return {"config": {}, **rep, "protocol": "openid-connect", "protocolMapper": self.mapper}

    def find(self, admin: Admin, inputs: Props) -> Rep | None:
        found = admin.get(_models(inputs))
        if found is None:
            owner = inputs.get("clientId") or inputs.get("clientScopeId")
            raise LabError(
                f"there is no client or client scope {owner!r} in realm {inputs['realmId']!r} "
                f"to put mapper {inputs['name']!r} on",
                next_command="pulumi refresh",
            )
        rep = next((rep for rep in found if rep["name"] == inputs["name"]), None)
        if rep is not None and rep.get("protocolMapper") != self.mapper:
            raise LabError(
                f"a mapper named {inputs['name']!r} of another kind is there already",
                value=rep.get("protocolMapper"),
                permitted=self.mapper,
            )
        return rep

    def insert(self, admin: Admin, inputs: Props, rep: Rep) -> str:
        return admin.post(_models(inputs), rep)

    def fetch(self, admin: Admin, ident: str, props: Props) -> Rep | None:
        found: Rep | None = admin.get(f"{_models(props)}/{path_of(ident)}")
        return found

    def store(self, admin: Admin, ident: str, props: Props, rep: Rep) -> None:
        admin.put(f"{_models(props)}/{path_of(ident)}", rep)

    def locate(self, admin: Admin, import_id: str) -> tuple[str, Props]:
        form = "realm/client/client-uuid/mapper-uuid or realm/client-scope/scope-uuid/mapper-uuid"
        parts = import_id.split("/")
        if len(parts) != 4 or parts[1] not in ("client", "client-scope"):
            raise LabError(
                f"{import_id!r} is no id to import {self.token} by", value=import_id, permitted=form
            )
        owner = "clientId" if parts[1] == "client" else "clientScopeId"
        return parts[3], {"realmId": parts[0], owner: parts[2]}

    def read(self, session: Admin, ident: str, inputs: Props, recorded: Props) -> State | None:
        if inputs or recorded:
            return super().read(session, ident, inputs, recorded)
        ident, place = self.locate(session, ident)
        rep = self.fetch(session, ident, place)
        return None if rep is None else State(id=ident, outputs=self._outputs(session, ident, rep, place, {}))

    def delete(self, session: Admin, ident: str, recorded: Props) -> None:
        session.delete(f"{_models(recorded)}/{path_of(ident)}")


def _models(props: Props) -> str:
    if props.get("clientScopeId"):
        owner, ident = "client-scopes", props["clientScopeId"]
    else:
        owner, ident = "clients", props["clientId"]
    return path_of("realms", props["realmId"], owner, ident, "protocol-mappers", "models")


class Audience(Mapper):
    """Adds an audience."""

    token = "keycloak:openid/audienceProtocolMapper:AudienceProtocolMapper"
    mapper = "oidc-audience-mapper"
    fields = (
        *_common(),
        _config("includedClientAudience", "included.client.audience", default=""),
        _config("includedCustomAudience", "included.custom.audience", default=""),
        _ID,
        _ACCESS,
        _INTROSPECTION,
    )

    def validate(self, inputs: Props) -> Mapping[str, str]:
        if "includedClientAudience" in inputs and "includedCustomAudience" in inputs:
            return {"includedCustomAudience": "can't be given together with includedClientAudience"}
        return super().validate(inputs)


class AudienceResolve(Mapper):
    """Adds the clients whose roles the user has as audiences."""

    token = "keycloak:openid/audienceResolveProtocolMapper:AudienceResolveProtocolMapper"
    mapper = "oidc-audience-resolve-mapper"
    fields = _common("audience resolve")


class FullName(Mapper):
    """First and last name in one claim."""

    token = "keycloak:openid/fullNameProtocolMapper:FullNameProtocolMapper"
    mapper = "oidc-full-name-mapper"
    fields = (*_common(), _ID, _ACCESS, _USERINFO)


class GroupMembership(Mapper):
    """The user's groups."""

    token = "keycloak:openid/groupMembershipProtocolMapper:GroupMembershipProtocolMapper"
    mapper = "oidc-group-membership-mapper"
    fields = (
        *_common(),
        _CLAIM,
        _config("fullPath", "full.path", TEXT_BOOL, True),
        _ID,
        _ACCESS,
        _USERINFO,
        _config("addToTokenIntrospection", "introspection.token.claim", TEXT_BOOL, False),
    )


class HardcodedClaim(Mapper):
    """A fixed claim."""

    token = "keycloak:openid/hardcodedClaimProtocolMapper:HardcodedClaimProtocolMapper"
    mapper = "oidc-hardcoded-claim-mapper"
    fields = (
        *_common(),
        _CLAIM,
        _config("claimValue", "claim.value", required=True),
        _TYPE,
        _ID,
        _ACCESS,
        _USERINFO,
    )


class UserAttribute(Mapper):
    """An attribute of the user."""

    token = "keycloak:openid/userAttributeProtocolMapper:UserAttributeProtocolMapper"
    mapper = "oidc-usermodel-attribute-mapper"
    fields = (
        *_common(),
        _CLAIM,
        _config("userAttribute", "user.attribute", required=True),
        _TYPE,
        _MULTIVALUED,
        _config("aggregateAttributes", "aggregate.attrs", TEXT_BOOL, False),
        _ID,
        _ACCESS,
        _USERINFO,
        _INTROSPECTION,
    )


class UserProperty(Mapper):
    """A built-in property of the user."""

    token = "keycloak:openid/userPropertyProtocolMapper:UserPropertyProtocolMapper"
    mapper = "oidc-usermodel-property-mapper"
    fields = (
        *_common(),
        _CLAIM,
        _config("userProperty", "user.attribute", required=True),
        _TYPE,
        _ID,
        _ACCESS,
        _USERINFO,
    )


class UserClientRole(Mapper):
    """The user's roles of clients, or of one client."""

    token = "keycloak:openid/userClientRoleProtocolMapper:UserClientRoleProtocolMapper"
    mapper = "oidc-usermodel-client-role-mapper"
    fields = (
        *_common(),
        _CLAIM,
        _TYPE,
        _MULTIVALUED,
        _config("clientIdForRoleMappings", "usermodel.clientRoleMapping.clientId", default=""),
        _config("clientRolePrefix", "usermodel.clientRoleMapping.rolePrefix", default=""),
        _ID,
        _ACCESS,
        _USERINFO,
    )


class UserRealmRole(Mapper):
    """The user's realm roles."""

    token = "keycloak:openid/userRealmRoleProtocolMapper:UserRealmRoleProtocolMapper"
    mapper = "oidc-usermodel-realm-role-mapper"
    fields = (
        *_common(),
        _CLAIM,
        _TYPE,
        _MULTIVALUED,
        _config("realmRolePrefix", "usermodel.realmRoleMapping.rolePrefix", default=""),
        _ID,
        _ACCESS,
        _USERINFO,
        _INTROSPECTION,
    )


class UserSessionNote(Mapper):
    """A note of the user's session."""

    token = "keycloak:openid/userSessionNoteProtocolMapper:UserSessionNoteProtocolMapper"
    mapper = "oidc-usersessionmodel-note-mapper"
    fields = (
        *_common(),
        _CLAIM,
        _TYPE,
        _config("sessionNote", "user.session.note", default=""),
        _ID,
        _ACCESS,
        _USERINFO,
        _INTROSPECTION,
    )


class Subject(Mapper):
    """The ``sub`` claim."""

    token = "keycloak:openid/subProtocolMapper:SubProtocolMapper"
    mapper = "oidc-sub-mapper"
    fields = (*_common(), _ACCESS, _INTROSPECTION)


MAPPERS: tuple[type[Mapper], ...] = (
    Audience,
    AudienceResolve,
    FullName,
    GroupMembership,
    HardcodedClaim,
    UserAttribute,
    UserProperty,
    UserClientRole,
    UserRealmRole,
    UserSessionNote,
    Subject,
)
