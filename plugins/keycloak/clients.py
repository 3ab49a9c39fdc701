"""OpenID clients and client scopes."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.errors import LabError
from plugins.keycloak.api import Admin, path_of
from plugins.keycloak.representation import REALM, Rep, Represented
from plugins.kinds import (
    BOOL,
    DECLARED_MAP,
    JOINED_SET,
    JSON,
    TEXT,
    TEXT_BOOL,
    TEXT_INT,
    TEXT_MAP,
    TEXT_SET,
    Kind,
)
from plugins.resource import Field, State, Update, import_parts
from plugins.values import Props

_PROTOCOL = "openid-connect"


def _top(name: str, kind: Kind, default: object, rep_name: str | None = None) -> Field:
    return Field(name=name, path=(rep_name or name,), kind=kind, default=default)


def _attribute(name: str, rep_name: str, kind: Kind, default: object) -> Field:
    return Field(name=name, path=("attributes", rep_name), kind=kind, default=default)


class Client(Represented):
    """An OpenID client; the natural key is realm and client id."""

    token = "keycloak:openid/client:Client"
    auto_name = "clientId"
    fields = (
        REALM,
        Field(name="clientId", path=("clientId",), key=True),
        Field(name="accessType", required=True, choices=("CONFIDENTIAL", "PUBLIC", "BEARER-ONLY")),
        Field(name="clientSecret", path=("secret",), secret=True),
        Field(name="clientSecretRegenerateWhenChanged", kind=TEXT_MAP),
        Field(name="import", kind=BOOL, default=False, replace=True),
        Field(name="serviceAccountUserId", output=True),
        Field(name="resourceServerId", output=True),
        Field(
            name="authenticationFlowBindingOverrides", path=("authenticationFlowBindingOverrides",), kind=JSON
        ),
        Field(name="extraConfig", path=("attributes",), kind=DECLARED_MAP),
        _top("name", TEXT, ""),
        _top("description", TEXT, ""),
        _top("enabled", BOOL, True),
        _top("clientAuthenticatorType", TEXT, "client-secret"),
        _top("standardFlowEnabled", BOOL, False),
        _top("implicitFlowEnabled", BOOL, False),
        _top("directAccessGrantsEnabled", BOOL, False),
        _top("serviceAccountsEnabled", BOOL, False),
        _top("frontchannelLogoutEnabled", BOOL, False, "frontchannelLogout"),
        _top("fullScopeAllowed", BOOL, True),
        _top("consentRequired", BOOL, False),
        _top("alwaysDisplayInConsole", BOOL, False),
        _top("validRedirectUris", TEXT_SET, [], "redirectUris"),
        _top("webOrigins", TEXT_SET, []),
        _top("rootUrl", TEXT, ""),
        _top("adminUrl", TEXT, ""),
        _top("baseUrl", TEXT, ""),
        _attribute("validPostLogoutRedirectUris", "post.logout.redirect.uris", JOINED_SET, []),
        _attribute("pkceCodeChallengeMethod", "pkce.code.challenge.method", TEXT, ""),
        _attribute("requireDpopBoundTokens", "dpop.bound.access.tokens", TEXT_BOOL, False),
        _attribute("accessTokenLifespan", "access.token.lifespan", TEXT, ""),
        _attribute("clientOfflineSessionIdleTimeout", "client.offline.session.idle.timeout", TEXT, ""),
        _attribute("clientOfflineSessionMaxLifespan", "client.offline.session.max.lifespan", TEXT, ""),
        _attribute("clientSessionIdleTimeout", "client.session.idle.timeout", TEXT, ""),
        _attribute("clientSessionMaxLifespan", "client.session.max.lifespan", TEXT, ""),
        _attribute(
            "excludeSessionStateFromAuthResponse",
            "exclude.session.state.from.auth.response",
            TEXT_BOOL,
            False,
        ),
        _attribute("excludeIssuerFromAuthResponse", "exclude.issuer.from.auth.response", TEXT_BOOL, False),
        _attribute("displayOnConsentScreen", "display.on.consent.screen", TEXT_BOOL, False),
        _attribute("consentScreenText", "consent.screen.text", TEXT, ""),
        _attribute("loginTheme", "login_theme", TEXT, ""),
        _attribute("useRefreshTokens", "use.refresh.tokens", TEXT_BOOL, True),
        _attribute(
            "useRefreshTokensClientCredentials", "client_credentials.use_refresh_token", TEXT_BOOL, False
        ),
        _attribute("standardTokenExchangeEnabled", "standard.token.exchange.enabled", TEXT_BOOL, False),
        _attribute(
            "allowRefreshTokenInStandardTokenExchange",
            "standard.token.exchange.enableRefreshRequestedTokenType",
            TEXT,
            "",
        ),
        _attribute("frontchannelLogoutUrl", "frontchannel.logout.url", TEXT, ""),
        _attribute("backchannelLogoutUrl", "backchannel.logout.url", TEXT, ""),
        _attribute(
            "backchannelLogoutSessionRequired", "backchannel.logout.session.required", TEXT_BOOL, True
        ),
        _attribute(
            "backchannelLogoutRevokeOfflineSessions",
            "backchannel.logout.revoke.offline.tokens",
            TEXT_BOOL,
            False,
        ),
        _attribute(
            "oauth2DeviceAuthorizationGrantEnabled",
            "oauth2.device.authorization.grant.enabled",
            TEXT_BOOL,
            False,
        ),
        _attribute("oauth2DeviceCodeLifespan", "oauth2.device.code.lifespan", TEXT, ""),
        _attribute("oauth2DevicePollingInterval", "oauth2.device.polling.interval", TEXT, ""),
        _attribute(
            "oauth2JwtAuthorizationGrantEnabled", "oauth2.jwt.authorization.grant.enabled", TEXT_BOOL, False
        ),
        _attribute("oauth2JwtAuthorizationGrantIdp", "oauth2.jwt.authorization.grant.idp", TEXT, ""),
    )

    def validate(self, inputs: Props) -> Mapping[str, str]:
        def on(name: str) -> bool:
            return inputs.get(name) is True

        flows = [
            name
            for name in (
                "standardFlowEnabled",
                "implicitFlowEnabled",
                "directAccessGrantsEnabled",
                "serviceAccountsEnabled",
            )
            if on(name)
        ]
        access = inputs.get("accessType")
        if access == "BEARER-ONLY" and flows:
            return {"accessType": f"a BEARER-ONLY client gets no tokens; remove {', '.join(flows)}"}
        browser = on("standardFlowEnabled") or on("implicitFlowEnabled")
        if browser and inputs.get("validRedirectUris", []) == []:
            return {"validRedirectUris": "the standard and implicit flows need at least one redirect URI"}
        if not browser and inputs.get("validRedirectUris"):
            return {"validRedirectUris": "used by the standard and implicit flows only; enable one"}
        if access == "PUBLIC":
            for name in ("serviceAccountsEnabled", "standardTokenExchangeEnabled"):
                if on(name):
                    return {name: "needs a CONFIDENTIAL client"}
        return {}

    def new(self, inputs: Props) -> Rep:
        rep = {"protocol": _PROTOCOL, **super().new(inputs)}
        access = inputs["accessType"]
        return {**rep, "publicClient": access == "PUBLIC", "bearerOnly": access == "BEARER-ONLY"}

    def find(self, admin: Admin, inputs: Props) -> Rep | None:
        found = admin.get(path_of("realms", inputs["realmId"], "clients"), clientId=inputs["clientId"])
        match = next((rep for rep in found or [] if rep["clientId"] == inputs["clientId"]), None)
        if match is not None and match.get("protocol", _PROTOCOL) != _PROTOCOL:
            raise LabError(
                f"client {inputs['clientId']!r} of realm {inputs['realmId']!r} exists with another protocol",
                value=match["protocol"],
                permitted=_PROTOCOL,
            )
        return match

    def insert(self, admin: Admin, inputs: Props, rep: Rep) -> str:
        return admin.post(path_of("realms", inputs["realmId"], "clients"), rep)

    def fetch(self, admin: Admin, ident: str, props: Props) -> Rep | None:
        found: Rep | None = admin.get(path_of("realms", props["realmId"], "clients", ident))
        return found

    def store(self, admin: Admin, ident: str, props: Props, rep: Rep) -> None:
        admin.put(path_of("realms", props["realmId"], "clients", ident), rep)

    def locate(self, admin: Admin, import_id: str) -> tuple[str, Props]:
        realm, ident = import_parts(self.token, import_id, "realm/client-uuid")
        return ident, {"realmId": realm}

    def overlay(self, rep: Rep, wanted: Props, before: Props) -> bool:
        differs = super().overlay(rep, wanted, before)
        if "accessType" in wanted and _access_type(rep) != wanted["accessType"]:
            rep["publicClient"] = wanted["accessType"] == "PUBLIC"
            rep["bearerOnly"] = wanted["accessType"] == "BEARER-ONLY"
            differs = True
        return differs

    def update(self, session: Admin, update: Update) -> State:
        name = "clientSecretRegenerateWhenChanged"
        if name in update.declared and update.declared[name] != update.before.get(name):
            path = path_of("realms", update.declared["realmId"], "clients", update.id, "client-secret")
            session.post(path, {"realm": update.declared["realmId"], "client": update.id})
        return super().update(session, update)

    def extend(self, admin: Admin, ident: str, inputs: Props, outputs: Props) -> Props:
        extra: Props = {"serviceAccountUserId": "", "resourceServerId": ""}
        if outputs.get("serviceAccountsEnabled"):
            path = path_of("realms", inputs["realmId"], "clients", ident, "service-account-user")
            user = admin.get(path)
            extra["serviceAccountUserId"] = user["id"] if user else ""
        return extra

    def _outputs(self, session: Admin, ident: str, rep: Rep, inputs: Props, recorded: Props) -> Props:
        outputs = super()._outputs(session, ident, rep, inputs, recorded)
        outputs["accessType"] = _access_type(rep)
        if rep.get("authorizationServicesEnabled"):
            outputs["resourceServerId"] = ident
        return outputs

    def delete(self, session: Admin, ident: str, recorded: Props) -> None:
        if recorded.get("import") is not True:
            session.delete(path_of("realms", recorded["realmId"], "clients", ident))


def get_client(admin: Admin, arguments: Props) -> tuple[Props, frozenset[str]]:
    """``keycloak.openid.get_client``: an existing client by its client id.

    Raises:
        LabError: there is none.
    """
    kind = Client()
    wanted = {"realmId": arguments["realmId"], "clientId": arguments["clientId"]}
    found = kind.find(admin, wanted)
    if found is None:
        raise LabError(
            f"realm {wanted['realmId']!r} has no client {wanted['clientId']!r}", value=wanted["clientId"]
        )
    state = kind.read(admin, found["id"], wanted, wanted)
    if state is None:
        raise LabError(f"client {wanted['clientId']!r} was removed while it was read")
    overrides = state.outputs.get("authenticationFlowBindingOverrides") or {}
    answer = {
        **state.outputs,
        "id": state.id,
        # A list of one here, an object on the resource.
        "authenticationFlowBindingOverrides": [overrides] if overrides else [],
    }
    return answer, frozenset({"clientSecret"})


def _access_type(rep: Mapping[str, object]) -> str:
    if rep.get("publicClient"):
        return "PUBLIC"
    return "BEARER-ONLY" if rep.get("bearerOnly") else "CONFIDENTIAL"


class ClientScope(Represented):
    """An OpenID client scope; the natural key is realm and name."""

    token = "keycloak:openid/clientScope:ClientScope"
    auto_name = "name"
    fields = (
        REALM,
        Field(name="name", path=("name",), key=True),
        _top("description", TEXT, ""),
        _attribute("consentScreenText", "consent.screen.text", TEXT, ""),
        _attribute("includeInTokenScope", "include.in.token.scope", TEXT_BOOL, True),
        _attribute("includeInOpenidProviderMetadata", "include.in.openid.provider.metadata", TEXT_BOOL, True),
        _attribute("guiOrder", "gui.order", TEXT_INT, 0),
        Field(name="extraConfig", path=("attributes",), kind=DECLARED_MAP),
    )

    def new(self, inputs: Props) -> Rep:
        rep = {"protocol": _PROTOCOL, **super().new(inputs)}
        rep["attributes"]["display.on.consent.screen"] = str(bool(inputs.get("consentScreenText"))).lower()
        return rep

    def overlay(self, rep: Rep, wanted: Props, before: Props) -> bool:
        differs = super().overlay(rep, wanted, before)
        if differs and "consentScreenText" in wanted:
            rep["attributes"]["display.on.consent.screen"] = str(bool(wanted["consentScreenText"])).lower()
        return differs

    def find(self, admin: Admin, inputs: Props) -> Rep | None:
        found = admin.get(path_of("realms", inputs["realmId"], "client-scopes"))
        return next((rep for rep in found or [] if rep["name"] == inputs["name"]), None)

    def insert(self, admin: Admin, inputs: Props, rep: Rep) -> str:
        return admin.post(path_of("realms", inputs["realmId"], "client-scopes"), rep)

    def fetch(self, admin: Admin, ident: str, props: Props) -> Rep | None:
        found: Rep | None = admin.get(path_of("realms", props["realmId"], "client-scopes", ident))
        return found

    def store(self, admin: Admin, ident: str, props: Props, rep: Rep) -> None:
        admin.put(path_of("realms", props["realmId"], "client-scopes", ident), rep)

    def locate(self, admin: Admin, import_id: str) -> tuple[str, Props]:
        realm, ident = import_parts(self.token, import_id, "realm/client-scope-uuid")
        return ident, {"realmId": realm}

    def delete(self, session: Admin, ident: str, recorded: Props) -> None:
        session.delete(path_of("realms", recorded["realmId"], "client-scopes", ident))
