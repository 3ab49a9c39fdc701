"""What is published of a lab on a cluster, under Pulumi's mocks."""

from __future__ import annotations

import pytest

from tests.mocks import test_kubernetes
from tests.mocks.test_kubernetes import (
    ALL,
    EXTERNAL,
    INGRESS,
    INGRESS_DOMAIN,
    NAMESPACE,
    Run,
    container_of,
)
from tests.mocks.test_stacks import plain

run = test_kubernetes.run


def test_what_people_use_is_published_below_one_domain(run: Run) -> None:
    found = run("lab", ALL, *INGRESS)
    assert found.error is None
    ingresses = found.objects("Ingress")
    assert set(ingresses) == {"keycloak", "trino", "control-plane", "agent"}
    for name, made in ingresses.items():
        (rule,) = made["spec"]["rules"]
        (tls,) = made["spec"]["tls"]
        assert rule["host"] == f"{name}.{INGRESS_DOMAIN}"
        assert tls["hosts"] == [rule["host"]]
        assert made["spec"]["ingressClassName"] == "nginx"
    paths = [path["path"] for path in ingresses["keycloak"]["spec"]["rules"][0]["http"]["paths"]]
    assert paths == ["/realms/", "/resources/"], "not Keycloak's administration"

    secrets = found.objects("Secret")
    assert secrets["ingress-tls"]["type"] == "kubernetes.io/tls"
    assert set(secrets["ingress-tls"]["data"]) == {"tls.crt", "tls.key"}
    names = {made["spec"]["tls"][0]["secretName"] for made in ingresses.values()}
    assert names == {secrets["ingress-tls"]["metadata"]["name"]}

    admitted = {
        policy["metadata"]["labels"]["app.kubernetes.io/component"]: policy["spec"]["ingress"][0]
        for name, policy in found.objects("NetworkPolicy").items()
        if name.endswith("-from-ingress-controller")
    }
    assert set(admitted) == set(ingresses)
    assert admitted["trino"]["ports"] == [{"protocol": "TCP", "port": "https"}]
    assert admitted["trino"]["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}
    ]


def test_one_issuer_inside_and_outside_though_it_is_published(run: Run) -> None:
    found = run("lab", ALL, *INGRESS)
    public = f"https://keycloak.{INGRESS_DOMAIN}"
    keycloak = {e["name"]: e["value"] for e in container_of(found.controllers["keycloak"])["env"]}
    assert keycloak["KC_HOSTNAME"] == public
    assert keycloak["KC_PROXY_HEADERS"] == "xforwarded"
    config = found.objects("ConfigMap")["trino-files"]["data"]["config.properties"]
    assert f"oauth2.issuer={public}/realms/lab\n" in config
    assert f"oauth2.jwks-url=http://keycloak.{NAMESPACE}.svc:8080/" in config, "asked inside"
    assert "http-server.process-forwarded=true\n" in config
    console = {e["name"]: e["value"] for e in container_of(found.controllers["control-plane"])["env"]}
    assert console["CONSOLE_PUBLIC_URL"] == f"https://control-plane.{INGRESS_DOMAIN}"
    assert console["CONSOLE_ISSUER_URL"] == f"{public}/realms/lab"
    clients = {i["clientId"]: i for i in found.of("keycloak:openid/client:Client").values()}
    assert clients["trino"]["validRedirectUris"] == [f"https://trino.{INGRESS_DOMAIN}/oauth2/callback"]
    (access,) = found.of("pulumi-python:dynamic/lab:Access").values()
    token_url = plain(plain(access["connection"])["token_url"])
    assert token_url.startswith("http://127.0.0.1:28008/realms/lab/"), "seeds still come by the tunnel"
    assert "KC_PROXY_HEADERS" not in {
        e["name"] for e in container_of(run("lab", ALL).controllers["keycloak"])["env"]
    }, "nobody's word is taken where there is no proxy"


@pytest.mark.parametrize(
    ("tls", "annotation", "secret"),
    [
        ("secret:wildcard", None, "wildcard"),
        ("issuer:team", "cert-manager.io/issuer", "trino-tls"),
        ("cluster-issuer:public", "cert-manager.io/cluster-issuer", "trino-tls"),
    ],
)
def test_certificates_of_others(run: Run, tls: str, annotation: str | None, secret: str) -> None:
    found = run("lab", "components=trino", *INGRESS, f"ingressTls={tls}", "ingressDomain=other.example")
    assert found.error is None, "the lab's own certificate has no say"
    made = found.objects("Ingress")["trino"]
    assert made["spec"]["tls"] == [{"hosts": ["trino.other.example"], "secretName": secret}]
    annotations = made["metadata"]["annotations"]
    assert annotations.get(annotation) == (tls.partition(":")[2] if annotation else None)
    assert annotations["nginx.ingress.kubernetes.io/backend-protocol"] == "HTTPS"
    assert "ingress-tls" not in found.objects("Secret")


def test_a_domain_that_the_certificate_is_not_for_is_refused(run: Run) -> None:
    found = run("lab", "components=", *INGRESS, "ingressDomain=other.example")
    assert "the lab's certificate is not for this domain" in (found.error or "")


def test_publishing_without_the_controllers_namespace_is_refused(run: Run) -> None:
    found = run("lab", "components=", f"ingressDomain={INGRESS_DOMAIN}")
    assert "ingressNamespace" in (found.error or "")
    assert found.on_the_cluster == []


def test_the_certificate_is_for_the_domain_too(run: Run) -> None:
    (pki,) = (
        run("persistent", *EXTERNAL, "ingressDomain=lab.example").of("pulumi-python:dynamic/lab:Pki").values()
    )
    assert {"lab.example", "*.lab.example", "127.0.0.1"} <= set(pki["names"])
