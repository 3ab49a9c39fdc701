"""Certificates that clients verify, kept across renewals."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from components.keys import LabPkiProvider, RsaKeyPairProvider

PROPS = {"common_name": "Lakehouse Lab lab", "names": ["127.0.0.1", "localhost"], "rotation": "1"}


def test_the_server_certificate_verifies_against_the_authority(tmp_path: Path) -> None:
    outs = LabPkiProvider().create(PROPS).outs or {}
    authority = x509.load_pem_x509_certificate(outs["ca_certificate"].encode())
    server = x509.load_pem_x509_certificate(outs["server_certificate"].encode())
    server.verify_directly_issued_by(authority)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    assert str(names.get_values_for_type(x509.IPAddress)[0]) == "127.0.0.1"
    pem = tmp_path / "server.pem"
    pem.write_text(outs["server_key"] + outs["server_certificate"])
    ssl.create_default_context(cadata=outs["ca_certificate"])
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(pem)


def test_nothing_changes_while_the_certificate_is_valid() -> None:
    provider = LabPkiProvider()
    outs = provider.create(PROPS).outs or {}
    diff = provider.diff("id", outs, PROPS)
    assert not diff.changes
    assert not diff.replaces


@pytest.mark.parametrize("moved", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_clock_moved_by_an_hour_leaves_a_new_certificate_valid(moved: timedelta) -> None:
    outs = LabPkiProvider().create(PROPS).outs or {}
    for name in ("ca_certificate", "server_certificate"):
        certificate = x509.load_pem_x509_certificate(outs[name].encode())
        assert certificate.not_valid_before_utc < datetime.now(UTC) + moved < certificate.not_valid_after_utc


def test_a_certificate_about_to_end_is_issued_anew_by_the_same_authority() -> None:
    provider = LabPkiProvider()
    outs = provider.create(PROPS).outs or {}
    ending = {**outs, "server_not_after": (datetime.now(UTC) + timedelta(days=3)).isoformat()}
    diff = provider.diff("id", ending, PROPS)
    assert diff.changes
    assert not diff.replaces
    renewed = provider.update("id", ending, PROPS).outs or {}
    assert renewed["ca_certificate"] == outs["ca_certificate"]
    assert renewed["server_certificate"] != outs["server_certificate"]


@pytest.mark.parametrize("key", ["rotation", "common_name"])
def test_only_an_explicit_change_replaces_the_authority(key: str) -> None:
    provider = LabPkiProvider()
    outs = provider.create(PROPS).outs or {}
    assert provider.diff("id", outs, {**PROPS, key: "other"}).replaces == [key]


def test_key_pairs_are_pkcs8_and_replaced_only_by_rotation() -> None:
    provider = RsaKeyPairProvider()
    outs = provider.create({"rotation": "1"}).outs or {}
    private = load_pem_private_key(outs["private_key"].encode(), password=None)
    public = load_pem_public_key(outs["public_key"].encode())
    assert isinstance(private, RSAPrivateKey)
    assert isinstance(public, RSAPublicKey)
    assert outs["private_key"].startswith("-----BEGIN PRIVATE KEY-----")
    assert private.public_key().public_numbers() == public.public_numbers()
    assert not provider.diff("id", outs, {"rotation": "1"}).changes
    assert provider.diff("id", outs, {"rotation": "2"}).replaces == ["rotation"]
