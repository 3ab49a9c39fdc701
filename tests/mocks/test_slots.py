"""Several labs on one persistent stack, under Pulumi's mocks: none has anything in common with another, and
what the first one has is what it had alone."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import UsageError
from contracts.settings import read_settings
from contracts.slots import NAMESPACES_BESIDE, labs_of
from placements.kubernetes.drivers import drivers_scope
from placements.kubernetes.naming import Scope
from tests.mocks.test_aws_cluster import NODE_GROUP
from tests.mocks.test_aws_foundation import ACCOUNT, GIVEN, inline, statements
from tests.mocks.test_aws_lab import folder as folder
from tests.mocks.test_aws_lab import recorded as recorded_lab
from tests.mocks.test_kubernetes import EXTERNAL, INGRESS, INGRESS_DOMAIN, Registered, Run
from tests.mocks.test_kubernetes import run as run
from tests.mocks.test_stacks import PASSWORD, Recorded, plain
from tests.mocks.test_stacks import run as run_stack

SERVERS = "pulumi-python:dynamic/lab:ExternalServers"
NAT = ("aws:ec2/natGateway:NatGateway", "aws:ec2/eip:Eip")
ROUTE = "aws:ec2/route:Route"


def keys(lab: str) -> dict[str, list[str]]:
    """Pairs of keys of one lab in the store."""
    return {user: [f"{lab}-{user}-id", f"{lab}-{user}-secret"] for user in ("catalog", "governor", "opa")}


MORE = "moreLabs=team-b"
SHARED = (*EXTERNAL, MORE, f"moreObjectStoreKeys={json.dumps({'team-b': keys('team-b')})}")


def registered(found: Registered | Recorded) -> set[tuple[str, str]]:
    return {(r["type"], r["name"]) for r in found.resources}


def test_each_lab_on_a_cluster_has_databases_buckets_keys_and_passwords_of_its_own(run: Run) -> None:
    found = run("persistent", *SHARED)
    assert found.error is None
    servers = found.of(SERVERS)
    assert set(servers) == {"lab-servers", "team-b-servers"}
    first, second = servers["lab-servers"], servers["team-b-servers"]
    assert len(first["databases"]) == len(second["databases"]) == 6
    assert not set(first["databases"]) & set(second["databases"])
    assert not set(plain(first["passwords"]).values()) & set(plain(second["passwords"]).values())
    stores = [plain(one["store"]) for one in (first, second)]
    names = [{store["bucket"], store["policy_bucket"]} for store in stores]
    assert names == [{"lab-warehouse", "lab-policy"}, {"team-b-warehouse", "team-b-policy"}]
    access = [{pair[0] for pair in plain(store["keys"]).values()} for store in stores]
    assert not access[0] & access[1]
    passwords = [{n for n in found.of(PASSWORD) if n.startswith(f"{lab}-")} for lab in ("lab", "team-b")]
    assert len(passwords[0]) == len(passwords[1]) == len(found.of(PASSWORD)) / 2


def test_each_lab_on_a_cluster_has_a_namespace_with_its_own_quota_that_denies_everything(run: Run) -> None:
    found = run("persistent", *SHARED)
    labels = {o["metadata"]["name"]: o["metadata"]["labels"] for o in found.objects("Namespace").values()}
    assert {ns: own["lakehouse-lab/lab"] for ns, own in labels.items()} == {
        "lakehouse-lab": "lab",
        "lakehouse-team-b": "team-b",
    }
    for kind, count in (("ResourceQuota", 1), ("LimitRange", 1), ("NetworkPolicy", 2)):
        by_namespace = [o["metadata"]["namespace"] for o in found.objects(kind).values()]
        assert sorted(by_namespace) == ["lakehouse-lab"] * count + ["lakehouse-team-b"] * count, kind
    denied = [o for o in found.objects("NetworkPolicy").values() if o["metadata"]["name"] == "default-deny"]
    assert [o["spec"] for o in denied] == [{"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}] * 2
    cluster_wide = [o for r in found.on_the_cluster if "namespace" not in (o := r["inputs"]["metadata"])]
    assert len(cluster_wide) == 2, "the two namespaces, and nothing else that could collide"


def test_what_the_first_lab_has_stays_as_it_was_alone(run: Run) -> None:
    alone, shared = run("persistent", *EXTERNAL), run("persistent", *SHARED)
    assert registered(alone) < registered(shared)
    for kind in ("ResourceQuota", "NetworkPolicy", "Namespace"):
        assert alone.objects(kind).items() <= shared.objects(kind).items()
    one, two = run_stack("persistent", *GIVEN), run_stack("persistent", *GIVEN, MORE)
    assert registered(one) < registered(two)


@pytest.mark.parametrize("lab", ["lab", "team-b"])
def test_no_policy_lets_a_pod_of_one_lab_reach_or_be_reached_by_another(run: Run, lab: str) -> None:
    found = run("lab", "components=trino,control-plane,agent", f"name={lab}")
    assert found.error is None
    assert {r["inputs"]["metadata"]["namespace"] for r in found.on_the_cluster} == {f"lakehouse-{lab}"}
    ends = [
        end
        for o in found.objects("NetworkPolicy").values()
        for rule in (*o["spec"].get("ingress", ()), *o["spec"].get("egress", ()))
        for end in (*rule.get("from", ()), *rule.get("to", ()))
    ]
    # A selector of pods alone selects in the policy's own namespace.
    pods = [end for end in ends if set(end) == {"podSelector"}]
    assert len(pods) > 10
    assert {end["podSelector"]["matchLabels"]["lakehouse-lab/lab"] for end in pods} == {lab}
    assert all("ipBlock" in end for end in ends if "podSelector" not in end), "servers outside the cluster"


def test_labs_publish_below_domains_of_their_own(run: Run) -> None:
    own = run("persistent", *SHARED, f"ingressDomain={INGRESS_DOMAIN}")
    names = {name: one["names"] for name, one in own.of("pulumi-python:dynamic/lab:Pki").items()}
    assert f"*.{INGRESS_DOMAIN}" in names["lab-pki"]
    assert f"*.team-b.{INGRESS_DOMAIN}" in names["team-b-pki"]
    assert not {n for n in names["team-b-pki"] if "." in n and "127" not in n} & {*names["lab-pki"]}
    published = (f"ingressDomain=team-b.{INGRESS_DOMAIN}", *INGRESS[1:])
    guest = run("lab", "name=team-b", *published)
    assert guest.error is None
    hosts = {rule["host"] for o in guest.objects("Ingress").values() for rule in o["spec"]["rules"]}
    assert hosts == {f"{one}.team-b.{INGRESS_DOMAIN}" for one in ("keycloak", "trino")}
    refused = run("lab", "name=team-b", *INGRESS)
    assert f"it is for team-b.{INGRESS_DOMAIN}" in (refused.error or "")


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ((*EXTERNAL, MORE), "lab 'team-b' of moreLabs has no keys of its own in the S3 store"),
        (
            (*EXTERNAL, MORE, f"moreObjectStoreKeys={json.dumps({'team-b': keys('team-b') | {'opa': 'x'}})}"),
            "setting 'moreObjectStoreKeys' is not understood",
        ),
        (
            (
                *SHARED[:-1],
                f"objectStoreKeys={json.dumps(keys('a'))}",
                f'moreObjectStoreKeys={{"team-b": {json.dumps(keys("a"))}}}',
            ),
            "labs 'lab' and 'team-b' would share a key",
        ),
        ((*SHARED, "policyBucket=team-b-policy"), "labs 'lab' and 'team-b' would share a bucket"),
        ((*SHARED, "namespace=lakehouse-team-b"), "labs 'lab' and 'team-b' would share a namespace"),
    ],
)
def test_labs_that_would_share_something_are_refused_before_anything_is_made(
    run: Run, pairs: tuple[str, ...], said: str
) -> None:
    found = run("persistent", *pairs)
    assert said in (found.error or "")
    assert "opa-secret" not in (found.error or "")
    assert found.resources == []


def test_buckets_can_be_called_otherwise(run: Run) -> None:
    found = run("persistent", *SHARED, "warehouseBucket=octo-{lab}-data", "policyBucket=octo-{lab}-rules")
    stores = {plain(one["store"])["bucket"] for one in found.of(SERVERS).values()}
    assert stores == {"octo-lab-data", "octo-team-b-data"}


def test_on_one_machine_nothing_is_shared() -> None:
    found = run_stack("persistent", MORE)
    assert "databases and object store are processes of lab 'lab'" in (found.error or "")
    assert "lab --name team-b up" in (found.error or "")
    assert found.resources == []


def test_a_lab_without_a_slot_is_told_how_its_owner_makes_one(run: Run) -> None:
    found = run("lab", "name=ci")
    assert "has no slot for lab 'ci'" in (found.error or "")
    assert "lab --name lab bootstrap --set moreLabs=team-b,ci" in (found.error or "")


@pytest.fixture(scope="module")
def account() -> Recorded:
    found = run_stack("persistent", *GIVEN, MORE, "awsCiRepository=octo-org/lakehouse")
    assert found.error is None
    return found


def resources_of(found: list[dict[str, Any]]) -> set[str]:
    """What statements that allow name."""
    return {arn for s in found if s["Effect"] == "Allow" for arn in s["Resource"]}


def test_no_role_of_one_lab_reaches_what_is_anothers(account: Recorded) -> None:
    roles = account.of("aws:iam/role:Role")
    for lab, other in (("lab", "team-b"), ("team-b", "lab")):
        for workload in ("catalog", "governor", "opa", "vending"):
            assert roles[f"{lab}-{workload}"]["name"] == f"lakehouse-{lab}-{workload}"
            reached = resources_of(inline(account, f"{lab}-{workload}"))
            assert not [
                r for r in reached if f"/{other}/" in r or f"lab-{other}-{ACCOUNT}-eu-central-1-policy" in r
            ]
            (trust,) = statements(roles[f"{lab}-{workload}"]["assumeRolePolicy"])
            if workload != "vending":
                arn = f"arn:aws:eks:eu-central-1:{ACCOUNT}:cluster/lakehouse-{lab}"
                assert trust["Condition"]["ArnLike"] == {"aws:SourceArn": arn}


def test_each_lab_of_an_account_is_ended_and_deployed_by_roles_of_its_own(account: Recorded) -> None:
    roles = account.of("aws:iam/role:Role")
    assert roles["team-b-ending"]["name"] == "lakehouse-team-b-ending"
    assert roles["team-b-ending-schedule"]["name"] == "lakehouse-team-b-ending-schedule"
    ending = json.dumps(inline(account, "team-b-ending"))
    assert 'cluster/lakehouse-team-b"' in ending
    assert "lakehouse-lab" not in ending.replace('"aws:ResourceTag/Project": ["lakehouse-lab"]', "").replace(
        '"aws:ResourceTag/Project": "lakehouse-lab"', ""
    )
    deploy = roles["ci-deploy-team-b"]
    assert deploy["name"] == "lakehouse-team-b-ci-deploy"
    (trust,) = statements(deploy["assumeRolePolicy"])
    subject = trust["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"]
    assert subject == "repo:octo-org/lakehouse:environment:lab-team-b"
    for key, lab, other in (("ci-deploy-team-b", "team-b", "lab"), ("ci-deploy", "lab", "team-b")):
        changes = [s for s in inline(account, key) if "eks:CreateCluster" in s["Action"]]
        assert f"arn:aws:eks:eu-central-1:{ACCOUNT}:cluster/lakehouse-{lab}" in resources_of(changes)
        passed = [s for s in inline(account, key) if "iam:PassRole" in s["Action"]]
        assert not [r for r in resources_of(passed) if f"/lakehouse-{other}-" in r]


def test_a_pipeline_of_a_lab_changes_nothing_of_one_whose_name_begins_like_its_own() -> None:
    found = run_stack("persistent", *GIVEN, "moreLabs=lab-b", "awsCiRepository=octo-org/lakehouse")
    first, second = (resources_of(inline(found, f"ci-{one}")) for one in ("deploy", "deploy-lab-b"))
    others = {arn for arn in second - first if "lakehouse-lab-b" in arn}
    assert {arn.split(":")[2] for arn in others} == {"eks", "iam", "logs", "scheduler", "states"}
    reached = {(own, arn) for own in first - {"*"} for arn in others if fnmatchcase(arn, own)}
    assert {own for own, _ in reached} <= resources_of(inline(found, "ci-preview")), "read, as all of them"


def test_a_budget_is_of_all_labs() -> None:
    found = run_stack("persistent", *GIVEN, MORE, "awsBudgetUsd=200", "awsBudgetEmails=a@example.com")
    (budget,) = found.of("aws:budgets/budget:Budget").values()
    assert budget["costFilters"] == [{"name": "TagKeyValue", "values": ["user:Lab$lab", "user:Lab$team-b"]}]


def test_the_way_out_is_each_labs_own_or_all_labs() -> None:
    own = run_stack("cluster", *GIVEN)
    assert [len(own.of(kind)) for kind in NAT] == [1, 1]
    shared = run_stack("cluster", *GIVEN, "awsNat=shared")
    assert "no way out of the private subnets that labs share" in (shared.error or "")
    for kind, count in (("shared", 1), ("shared-zonal", 2)):
        kept = run_stack("persistent", *GIVEN, MORE, f"awsNat={kind}")
        assert kept.error is None
        assert [len(kept.of(one)) for one in NAT] == [count, count]
        assert {n for n in kept.of(ROUTE) if n.startswith("private")} == {
            "private-eu-central-1a", "private-eu-central-1b"
        }  # fmt: skip
        unprotected = {
            r["type"] for r in kept.resources if r["type"].startswith("aws:") and not r["options"]["protect"]
        }
        assert unprotected == {*NAT, ROUTE}, "what holds no data goes by one command"
    alone = run_stack("persistent", *GIVEN, MORE)
    assert not [kind for kind in NAT if alone.of(kind)]


def test_a_second_lab_in_an_account_is_called_and_tagged_by_its_own_name(folder: Path) -> None:
    given = ("catalog=polaris", f"imagesFile={folder / 'images.json'}", "name=team-b")
    found = recorded_lab(folder, *given)
    assert found.error is None
    (cluster,) = found.of("eks:index:Cluster").values()
    assert cluster["name"] == "lakehouse-team-b"
    tags = [r["inputs"]["tags"] for r in found.resources if r["inputs"].get("tags")]
    assert {tag["Lab"] for tag in tags} == {"team-b"}
    assert found.of(NODE_GROUP)


@pytest.mark.parametrize("name", ["lab-cluster-b", "lab-cluster-"])
def test_a_name_that_could_be_taken_for_another_labs_is_refused(name: str) -> None:
    found = run_stack("persistent", *GIVEN, f"moreLabs={name}")
    assert "could be taken for that of lab 'lab'" in (found.error or "")
    assert found.resources == []


def labs(*more: str, **given: str) -> tuple[str, ...]:
    own = {"role": "persistent", "placement": "kubernetes", "name": "lab"}
    return labs_of(read_settings({**own, "moreLabs": ",".join(more), **given}))


@pytest.mark.parametrize("word", NAMESPACES_BESIDE)
def test_a_lab_is_in_no_namespace_that_another_has_beside_its_own(run: Run, word: str) -> None:
    for name, more in (("lab", ("x", f"x-{word}")), ("lab", (f"x-{word}", "x")), (f"x-{word}", ("x",))):
        with pytest.raises(UsageError, match="in a namespace that lab 'x' has beside its own") as refused:
            labs(*more, name=name)
        assert refused.value.value == f"lakehouse-x-{word}"
        assert "-spark or -data after it" in str(refused.value.permitted)
    found = run("persistent", *EXTERNAL, f"moreLabs=lab-{word}", "moreObjectStoreKeys={}")
    assert f"lab 'lab-{word}' would be in a namespace that lab 'lab' has" in (found.error or "")
    assert found.resources == []
    assert labs("x", f"x{word}", f"{word}") == ("lab", "x", f"x{word}", word)


def test_a_namespace_that_an_owner_names_is_looked_at_as_well() -> None:
    with pytest.raises(UsageError, match="lab 'lab' would be in a namespace that lab 'x' has") as refused:
        labs("x", namespace="lakehouse-x-spark")
    assert "config set namespace lakehouse-lab" in str(refused.value.next_command)
    with pytest.raises(UsageError, match="lab 'x-data' would be in a namespace that lab 'lab' has"):
        labs("x-data", namespace="lakehouse-x")
    assert labs("lab-spark", namespace="team") == ("lab", "lab-spark")


def test_the_namespace_of_drivers_is_one_that_no_other_lab_is_in() -> None:
    scope = Scope(lab="lab", namespace="lakehouse-lab", stack="lab")
    assert drivers_scope(scope).namespace in {f"lakehouse-lab-{word}" for word in NAMESPACES_BESIDE}
