"""Key pairs and certificates that kept data remembers, made once in the persistent stack.

Dynamic resources over the PyPI package ``cryptography``; PEM throughout (PKCS#8 private keys,
SubjectPublicKeyInfo public keys). Replacing a key is an explicit act: nothing but ``rotation`` changes it.
"""

from __future__ import annotations

import ipaddress
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pulumi import Input, Output, ResourceOptions
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

CA_YEARS = 10
SERVER_DAYS = 825
"""The longest validity that browsers accept of a private authority."""
RENEW_BEFORE_DAYS = 30

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def private_pem(key: PrivateKey) -> str:
    """PKCS#8, unencrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_pem(key: PrivateKey) -> str:
    """SubjectPublicKeyInfo."""
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def make_authority(common_name: str, now: datetime) -> tuple[str, str]:
    """A new certificate authority: its certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=2))
        .not_valid_after(now + timedelta(days=365 * CA_YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private_pem(key)


def issue_server(
    ca_certificate: str, ca_key: str, names: list[str], now: datetime
) -> tuple[str, str, datetime]:
    """A server certificate for DNS names and addresses, its key, and when it ends."""
    authority = x509.load_pem_x509_certificate(ca_certificate.encode())
    signer = serialization.load_pem_private_key(ca_key.encode(), password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key is not an elliptic-curve key")
    key = ec.generate_private_key(ec.SECP256R1())
    end = now + timedelta(days=SERVER_DAYS)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=2))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private_pem(key), end


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class RsaKeyPairProvider(ResourceProvider):
    """RSA 2048, for token and bundle signatures."""

    serialize_as_secret_always = True

    def create(self, props: dict[str, Any]) -> CreateResult:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        outs = {**props, "private_key": private_pem(key), "public_key": public_pem(key)}
        return CreateResult(str(uuid.uuid4()), outs)

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        changed = olds.get("rotation") != news.get("rotation")
        return DiffResult(changes=changed, replaces=["rotation"] if changed else [])


class RsaKeyPair(Resource, module="lab", name="RsaKeyPair"):
    """A key pair; a new ``rotation`` makes a new one."""

    private_key: Output[str]
    public_key: Output[str]

    def __init__(self, name: str, *, rotation: Input[str], opts: ResourceOptions | None = None) -> None:
        super().__init__(
            RsaKeyPairProvider(),
            name,
            {"rotation": rotation, "private_key": None, "public_key": None},
            ResourceOptions.merge(ResourceOptions(additional_secret_outputs=["private_key"]), opts),
        )


class LabPkiProvider(ResourceProvider):
    """The lab's authority, and one server certificate which is issued anew before it ends."""

    serialize_as_secret_always = True

    def create(self, props: dict[str, Any]) -> CreateResult:
        now = datetime.now(UTC)
        certificate, key = make_authority(props["common_name"], now)
        outs = {**props, "ca_certificate": certificate, "ca_key": key}
        return CreateResult(str(uuid.uuid4()), _with_server(outs, now))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        replaces = [k for k in ("rotation", "common_name") if olds.get(k) != news.get(k)]
        ends = datetime.fromisoformat(olds["server_not_after"])
        due = ends - datetime.now(UTC) < timedelta(days=RENEW_BEFORE_DAYS)
        return DiffResult(
            changes=bool(replaces) or due or olds.get("names") != news.get("names"), replaces=replaces
        )

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        kept = {"ca_certificate": olds["ca_certificate"], "ca_key": olds["ca_key"]}
        return UpdateResult(_with_server({**news, **kept}, datetime.now(UTC)))


def _with_server(outs: dict[str, Any], now: datetime) -> dict[str, Any]:
    certificate, key, end = issue_server(outs["ca_certificate"], outs["ca_key"], list(outs["names"]), now)
    return {
        **outs,
        "server_certificate": certificate,
        "server_key": key,
        "server_not_after": end.isoformat(),
    }


class LabPki(Resource, module="lab", name="Pki"):
    """The lab's certificate authority and its server certificate."""

    ca_certificate: Output[str]
    server_certificate: Output[str]
    server_key: Output[str]

    def __init__(
        self,
        name: str,
        *,
        common_name: Input[str],
        names: Input[list[str]],
        rotation: Input[str],
        opts: ResourceOptions | None = None,
    ) -> None:
        made = ("ca_certificate", "ca_key", "server_certificate", "server_key", "server_not_after")
        super().__init__(
            LabPkiProvider(),
            name,
            {"common_name": common_name, "names": names, "rotation": rotation, **dict.fromkeys(made)},
            ResourceOptions.merge(ResourceOptions(additional_secret_outputs=["ca_key", "server_key"]), opts),
        )
