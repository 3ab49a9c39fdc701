"""The keys of a cluster that lives for one test run."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = datetime.timedelta(days=2)


def make(folder: Path, *, addresses: Sequence[str], names: Sequence[str]) -> None:
    """``ca.crt``, the API server's ``server.crt`` and ``server.key`` for ``addresses`` and ``names``, the
    clients ``admin`` and ``kubelet``, and ``accounts.key`` that signs tokens of service accounts."""
    folder.mkdir(mode=0o700)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("cluster")
    ca = _builder(ca_name, ca_name, ca_key.public_key(), None, ca_key)
    (folder / "ca.crt").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    for file, name, also in (
        ("server", _name("kube-apiserver"), alternatives),
        ("admin", _name("admin", "system:masters"), []),
        ("kubelet", _name("system:node:node", "system:nodes"), []),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        signed = _builder(name, ca_name, key.public_key(), also, ca_key)
        (folder / f"{file}.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        _write_key(folder / f"{file}.key", key)
    _write_key(folder / "accounts.key", rsa.generate_private_key(public_exponent=65537, key_size=2048))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    alternatives: Sequence[x509.GeneralName] | None,
    signing_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    """A signed certificate; ``alternatives`` None makes it an authority's own."""
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=alternatives is None, path_length=None), critical=True)
    )
    if alternatives is not None:
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(signing_key, hashes.SHA256())


def _name(common: str, organization: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if organization:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(parts)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
