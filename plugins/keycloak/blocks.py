"""The nested settings of a realm, and where each member lies in the representation.

Members are those of the official provider; the representation is Keycloak's RealmRepresentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from plugins.keycloak.representation import put_at, value_at
from plugins.kinds import BOOL, INT, TEXT, TEXT_BOOL, TEXT_SET, Kind


@dataclass(frozen=True, kw_only=True)
class Member:
    """One member: where it lies, how it is written, and what it is when not declared."""

    path: tuple[str, ...]
    kind: Kind = TEXT
    default: Any = None


@dataclass(frozen=True, kw_only=True)
class Block:
    """Members and inner blocks.

    ``switch`` is a flag in the representation that says the block is in force; ``anchor`` is a member
    without which there is no block.
    """

    members: Mapping[str, Member] = field(default_factory=dict)
    inner: Mapping[str, Block] = field(default_factory=dict)
    switch: tuple[str, ...] = ()
    switch_kind: Kind = BOOL
    anchor: tuple[str, ...] = ()


def write_block(block: Block, rep: dict[str, Any], value: Mapping[str, Any]) -> None:
    """Write the declared members, and defaults for the others, into ``rep``."""
    for name, member in block.members.items():
        wanted = value.get(name, member.default)
        if wanted is not None:
            put_at(rep, member.path, member.kind.write(wanted, None, None))
    for name, inner in block.inner.items():
        if name in value:
            write_block(inner, rep, value[name])
    if block.switch:
        put_at(rep, block.switch, block.switch_kind.write(True, None, None))


def read_block(block: Block, rep: Mapping[str, Any], declared: Mapping[str, Any] | None = None) -> Any:
    """The block out of ``rep``; None when it is switched off. Masked secrets are as declared."""
    if block.switch and not block.switch_kind.read(value_at(rep, block.switch)):
        return None
    if block.anchor and not value_at(rep, block.anchor):
        return None
    value: dict[str, Any] = {}
    for name, member in block.members.items():
        raw = value_at(rep, member.path)
        masked = isinstance(raw, str) and raw != "" and set(raw) == {"*"}
        found = (declared or {}).get(name) if masked else member.kind.read(raw)
        if found not in (None, ""):
            value[name] = found
    for name, inner in block.inner.items():
        found = read_block(inner, rep, (declared or {}).get(name))
        if found is not None:
            value[name] = found
    return value


def _headers() -> Block:
    defaults = {
        "xFrameOptions": "SAMEORIGIN",
        "contentSecurityPolicy": "frame-src 'self'; frame-ancestors 'self'; object-src 'none';",
        "contentSecurityPolicyReportOnly": "",
        "xContentTypeOptions": "nosniff",
        "xRobotsTag": "none",
        "xXssProtection": "1; mode=block",
        "strictTransportSecurity": "max-age=31536000; includeSubDomains",
        "referrerPolicy": "no-referrer",
    }
    spelt = {"xXssProtection": "xXSSProtection"}
    return Block(
        members={
            name: Member(path=("browserSecurityHeaders", spelt.get(name, name)), default=default)
            for name, default in defaults.items()
        }
    )


def _brute_force() -> Block:
    numbers = {
        "maxTemporaryLockouts": ("maxTemporaryLockouts", 0),
        "maxLoginFailures": ("failureFactor", 30),
        "waitIncrementSeconds": ("waitIncrementSeconds", 60),
        "quickLoginCheckMilliSeconds": ("quickLoginCheckMilliSeconds", 1000),
        "minimumQuickLoginWaitSeconds": ("minimumQuickLoginWaitSeconds", 60),
        "maxFailureWaitSeconds": ("maxFailureWaitSeconds", 900),
        "failureResetTimeSeconds": ("maxDeltaTimeSeconds", 43_200),
    }
    return Block(
        switch=("bruteForceProtected",),
        members={
            "permanentLockout": Member(path=("permanentLockout",), kind=BOOL, default=False),
            "bruteForceStrategy": Member(path=("bruteForceStrategy",), default="MULTIPLE"),
            **{
                name: Member(path=(rep_name,), kind=INT, default=default)
                for name, (rep_name, default) in numbers.items()
            },
        },
    )


def _smtp() -> Block:
    at = "smtpServer"
    return Block(
        anchor=(at, "host"),
        members={
            **{
                name: Member(path=(at, name))
                for name in ("host", "port", "replyTo", "replyToDisplayName", "from", "fromDisplayName")
            },
            "envelopeFrom": Member(path=(at, "envelopeFrom")),
            "starttls": Member(path=(at, "starttls"), kind=TEXT_BOOL, default=False),
            "ssl": Member(path=(at, "ssl"), kind=TEXT_BOOL, default=False),
            "allowUtf8": Member(path=(at, "allowutf8"), kind=TEXT_BOOL, default=False),
        },
        inner={
            "auth": Block(
                switch=(at, "auth"),
                switch_kind=TEXT_BOOL,
                members={
                    "username": Member(path=(at, "user")),
                    "password": Member(path=(at, "password")),
                },
            )
        },
    )


def _web_authn(prefix: str) -> Block:
    texts = {
        "attestationConveyancePreference": "AttestationConveyancePreference",
        "authenticatorAttachment": "AuthenticatorAttachment",
        "requireResidentKey": "RequireResidentKey",
        "discoverableCredential": "ResidentKey",
        "relyingPartyEntityName": "RpEntityName",
        "relyingPartyId": "RpId",
        "userVerificationRequirement": "UserVerificationRequirement",
    }
    sets = {
        "acceptableAaguids": "AcceptableAaguids",
        "extraOrigins": "ExtraOrigins",
        "signatureAlgorithms": "SignatureAlgorithms",
    }
    return Block(
        members={
            **{name: Member(path=(prefix + rep_name,)) for name, rep_name in texts.items()},
            **{name: Member(path=(prefix + rep_name,), kind=TEXT_SET) for name, rep_name in sets.items()},
            "avoidSameAuthenticatorRegister": Member(
                path=(prefix + "AvoidSameAuthenticatorRegister",), kind=BOOL
            ),
            "createTimeout": Member(path=(prefix + "CreateTimeout",), kind=INT),
        }
    )


def _otp() -> Block:
    numbers = ("digits", "initialCounter", "lookAheadWindow", "period")
    return Block(
        members={
            "type": Member(path=("otpPolicyType",), default="totp"),
            "algorithm": Member(path=("otpPolicyAlgorithm",), default="HmacSHA1"),
            **{name: Member(path=(f"otpPolicy{name[0].upper()}{name[1:]}",), kind=INT) for name in numbers},
            "codeReusable": Member(path=("otpPolicyCodeReusable",), kind=BOOL, default=False),
        }
    )


_PASSWORDLESS = "webAuthnPolicyPasswordless"

BLOCKS: Final[Mapping[str, Block]] = {
    "internationalization": Block(
        switch=("internationalizationEnabled",),
        members={
            "supportedLocales": Member(path=("supportedLocales",), kind=TEXT_SET, default=[]),
            "defaultLocale": Member(path=("defaultLocale",)),
        },
    ),
    "securityDefenses": Block(inner={"headers": _headers(), "bruteForceDetection": _brute_force()}),
    "smtpServer": _smtp(),
    "otpPolicy": _otp(),
    "webAuthnPolicy": _web_authn("webAuthnPolicy"),
    "webAuthnPasswordlessPolicy": Block(
        members={
            **_web_authn(_PASSWORDLESS).members,
            "passwordlessPasskeysEnabled": Member(path=(f"{_PASSWORDLESS}PasskeysEnabled",), kind=BOOL),
        }
    ),
}
