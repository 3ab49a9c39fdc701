"""Realm, its events and its user profile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.errors import LabError
from plugins.keycloak.api import Admin, path_of
from plugins.keycloak.blocks import BLOCKS, read_block, write_block
from plugins.keycloak.profile import profile_read, profile_write
from plugins.keycloak.representation import REALM, Rep, Represented
from plugins.kinds import BOOL, DECLARED_MAP, DURATION, INT, JSON, TEXT, TEXT_SET
from plugins.resource import Field, ResourceType, State, Update
from plugins.values import Props


def _flag(name: str, rep_name: str | None = None) -> Field:
    """A switch that is off unless declared."""
    return Field(name=name, path=(rep_name or name,), kind=BOOL, default=False)


def _text(name: str) -> Field:
    return Field(name=name, path=(name,), kind=TEXT)


def _duration(name: str) -> Field:
    return Field(name=name, path=(name,), kind=DURATION)


class Realm(Represented):
    """A realm; the natural key is its name."""

    token = "keycloak:index/realm:Realm"
    auto_name = "realm"
    fields = (
        Field(name="realm", path=("realm",), key=True, replace=True),
        Field(name="internalId", path=("id",), replace=True),
        Field(name="enabled", path=("enabled",), kind=BOOL, default=True),
        Field(name="displayName", path=("displayName",), default=""),
        Field(name="displayNameHtml", path=("displayNameHtml",), default=""),
        _flag("userManagedAccess", "userManagedAccessAllowed"),
        _flag("organizationsEnabled"),
        _flag("adminPermissionsEnabled"),
        Field(name="terraformDeletionProtection", kind=BOOL, default=False),
        *(
            _flag(name)
            for name in (
                "registrationAllowed",
                "registrationEmailAsUsername",
                "editUsernameAllowed",
                "resetPasswordAllowed",
                "rememberMe",
                "verifyEmail",
                "loginWithEmailAllowed",
                "duplicateEmailsAllowed",
                "revokeRefreshToken",
                "offlineSessionMaxLifespanEnabled",
            )
        ),
        Field(
            name="sslRequired", path=("sslRequired",), default="external", choices=("none", "external", "all")
        ),
        Field(name="refreshTokenMaxReuse", path=("refreshTokenMaxReuse",), kind=INT, default=0),
        Field(name="passwordPolicy", path=("passwordPolicy",), default=""),
        *(
            _text(name)
            for name in (
                "loginTheme",
                "accountTheme",
                "adminTheme",
                "emailTheme",
                "defaultSignatureAlgorithm",
                "browserFlow",
                "registrationFlow",
                "directGrantFlow",
                "resetCredentialsFlow",
                "clientAuthenticationFlow",
                "dockerAuthenticationFlow",
                "firstBrokerLoginFlow",
            )
        ),
        *(
            _duration(name)
            for name in (
                "ssoSessionIdleTimeout",
                "ssoSessionMaxLifespan",
                "ssoSessionIdleTimeoutRememberMe",
                "ssoSessionMaxLifespanRememberMe",
                "offlineSessionIdleTimeout",
                "offlineSessionMaxLifespan",
                "clientSessionIdleTimeout",
                "clientSessionMaxLifespan",
                "accessTokenLifespan",
                "accessTokenLifespanForImplicitFlow",
                "accessCodeLifespan",
                "accessCodeLifespanLogin",
                "accessCodeLifespanUserAction",
                "actionTokenGeneratedByUserLifespan",
                "actionTokenGeneratedByAdminLifespan",
                "oauth2DeviceCodeLifespan",
            )
        ),
        Field(name="oauth2DevicePollingInterval", path=("oauth2DevicePollingInterval",), kind=INT),
        Field(name="defaultDefaultClientScopes", path=("defaultDefaultClientScopes",), kind=TEXT_SET),
        Field(name="defaultOptionalClientScopes", path=("defaultOptionalClientScopes",), kind=TEXT_SET),
        Field(name="attributes", path=("attributes",), kind=DECLARED_MAP),
        *(Field(name=name, kind=JSON, secret=name == "smtpServer") for name in BLOCKS),
    )

    def validate(self, inputs: Props) -> Mapping[str, str]:
        if inputs.get("duplicateEmailsAllowed") is True:
            for other in ("registrationEmailAsUsername", "loginWithEmailAllowed"):
                if inputs.get(other) is True:
                    return {"duplicateEmailsAllowed": f"can't be true while {other} is true"}
        return {}

    def ident(self, rep: Rep) -> str:
        return str(rep["realm"])

    def new(self, inputs: Props) -> Rep:
        rep = super().new(inputs)
        rep.setdefault("id", rep["realm"])
        self._write_blocks(rep, inputs)
        return rep

    def find(self, admin: Admin, inputs: Props) -> Rep | None:
        return self.fetch(admin, inputs["realm"], inputs)

    def insert(self, admin: Admin, inputs: Props, rep: Rep) -> str:
        admin.post("realms", rep)
        return str(rep["realm"])

    def fetch(self, admin: Admin, ident: str, props: Props) -> Rep | None:
        found: Rep | None = admin.get(path_of("realms", ident))
        return found

    def store(self, admin: Admin, ident: str, props: Props, rep: Rep) -> None:
        admin.put(path_of("realms", ident), rep)

    def locate(self, admin: Admin, import_id: str) -> tuple[str, Props]:
        return import_id, {"realm": import_id}

    def overlay(self, rep: Rep, wanted: Props, before: Props) -> bool:
        differs = super().overlay(rep, wanted, before)
        blocks = {
            name: wanted[name]
            for name, block in BLOCKS.items()
            if name in wanted and not JSON.same(wanted[name], read_block(block, rep))
        }
        self._write_blocks(rep, blocks)
        return differs or bool(blocks)

    def extend(self, admin: Admin, ident: str, inputs: Props, outputs: Props) -> Props:
        return {}

    def _outputs(self, session: Admin, ident: str, rep: Rep, inputs: Props, recorded: Props) -> Props:
        outputs = super()._outputs(session, ident, rep, inputs, recorded)
        for name, block in BLOCKS.items():
            declared = inputs.get(name)
            outputs[name] = (
                None if declared is None else JSON.shown(declared, read_block(block, rep, declared))
            )
        return outputs

    def _write_blocks(self, rep: Rep, values: Props) -> None:
        for name, block in BLOCKS.items():
            if name in values:
                write_block(block, rep, values[name])

    def delete(self, session: Admin, ident: str, recorded: Props) -> None:
        if recorded.get("terraformDeletionProtection") is True:
            raise LabError(
                f"realm {ident!r} is protected from deletion",
                value=ident,
                permitted="deletion after terraformDeletionProtection was set to false and applied",
            )
        session.delete(path_of("realms", ident))


class RealmEvents(ResourceType[Admin]):
    """What a realm records: sign-in and admin events. One per realm, so it always exists."""

    token = "keycloak:index/realmEvents:RealmEvents"
    fields = (
        REALM,
        Field(name="adminEventsEnabled", path=("adminEventsEnabled",), kind=BOOL, default=False),
        Field(
            name="adminEventsDetailsEnabled", path=("adminEventsDetailsEnabled",), kind=BOOL, default=False
        ),
        Field(name="eventsEnabled", path=("eventsEnabled",), kind=BOOL, default=False),
        Field(name="eventsExpiration", path=("eventsExpiration",), kind=INT, default=0),
        Field(name="enabledEventTypes", path=("enabledEventTypes",), kind=TEXT_SET),
        Field(name="eventsListeners", path=("eventsListeners",), kind=TEXT_SET),
    )

    def create(self, session: Admin, inputs: Props) -> State:
        return self._write(session, inputs, inputs)

    def update(self, session: Admin, update: Update) -> State:
        dropped = {
            f.name: f.default for f in self.fields if f.name in update.dropped and f.default in (False, 0)
        }
        return self._write(session, update.declared, {**dropped, **update.declared})

    def _write(self, session: Admin, inputs: Props, wanted: Props) -> State:
        path = path_of("realms", inputs["realmId"], "events", "config")
        rep = session.get(path)
        if rep is None:
            raise _no_realm(inputs["realmId"])
        new = {f.path[0]: wanted[f.name] for f in self.fields if f.path and f.name in wanted}
        if any(
            not f.kind.same(wanted[f.name], rep.get(f.path[0]))
            for f in self.fields
            if f.path and f.name in wanted
        ):
            session.put(path, {**rep, **new})
        state = self.read(session, inputs["realmId"], inputs, {})
        if state is None:
            raise _no_realm(inputs["realmId"])
        return state

    def read(self, session: Admin, ident: str, inputs: Props, recorded: Props) -> State | None:
        rep = session.get(path_of("realms", ident, "events", "config"))
        if rep is None:
            return None
        place = {**recorded, **inputs}
        outputs = {
            f.name: f.kind.shown(place.get(f.name), f.kind.read(rep.get(f.path[0])))
            for f in self.fields
            if f.path
        }
        return State(id=ident, outputs={**outputs, "realmId": ident})

    def delete(self, session: Admin, ident: str, recorded: Props) -> None:
        path = path_of("realms", ident, "events", "config")
        if session.get(path) is not None:
            session.put(
                path,
                {"eventsEnabled": False, "adminEventsEnabled": False, "adminEventsDetailsEnabled": False},
            )


class RealmUserProfile(ResourceType[Admin]):
    """The attributes a realm's users may have. One per realm; undeclared attributes are kept."""

    token = "keycloak:index/realmUserProfile:RealmUserProfile"
    fields = (
        REALM,
        Field(name="attributes", kind=JSON),
        Field(name="groups", kind=JSON),
        Field(
            name="unmanagedAttributePolicy",
            default="DISABLED",
            choices=("DISABLED", "ENABLED", "ADMIN_VIEW", "ADMIN_EDIT"),
        ),
    )

    def create(self, session: Admin, inputs: Props) -> State:
        return self._write(session, inputs, {})

    def update(self, session: Admin, update: Update) -> State:
        declared = dict(update.declared)
        if "unmanagedAttributePolicy" in update.dropped:
            declared["unmanagedAttributePolicy"] = "DISABLED"
        return self._write(session, declared, update.before)

    def _write(self, session: Admin, inputs: Props, before: Props) -> State:
        realm = inputs["realmId"]
        path = path_of("realms", realm, "users", "profile")
        rep = session.get(path)
        if rep is None:
            raise _no_realm(realm)
        new = profile_write(rep, inputs, before)
        if new != rep:
            session.put(path, new)
        state = self.read(session, realm, inputs, {})
        if state is None:
            raise _no_realm(realm)
        return state

    def read(self, session: Admin, ident: str, inputs: Props, recorded: Props) -> State | None:
        rep = session.get(path_of("realms", ident, "users", "profile"))
        if rep is None:
            return None
        place = {**recorded, **inputs}
        outputs: dict[str, Any] = {"realmId": ident, **profile_read(rep, place)}
        return State(id=ident, outputs=outputs)

    def delete(self, session: Admin, ident: str, recorded: Props) -> None:
        path = path_of("realms", ident, "users", "profile")
        rep = session.get(path)
        if rep is not None:
            session.put(path, profile_write(rep, {"unmanagedAttributePolicy": "DISABLED"}, recorded))


def _no_realm(realm: str) -> LabError:
    return LabError(f"there is no realm named {realm!r} in Keycloak", value=realm, next_command="pulumi up")
