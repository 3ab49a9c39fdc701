"""The cluster's managed add-ons, in the order in which they are needed."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Addon:
    """One add-on; ``policy`` is what its ``service_account`` may do in the account, by a role of its own."""

    name: str
    configuration: str = ""
    policy: str = ""
    role: str = ""
    service_account: str = ""


BEFORE_NODES = (
    Addon(
        name="vpc-cni",
        # The lab's network policies hold by this agent; without it they are texts.
        configuration=json.dumps({"enableNetworkPolicy": "true"}),
        policy="AmazonEKS_CNI_Policy",
        role="cni",
        service_account="aws-node",
    ),
    Addon(name="kube-proxy"),
    Addon(name="eks-pod-identity-agent"),
)

ON_NODES = (
    Addon(name="coredns"),
    Addon(
        name="aws-ebs-csi-driver",
        policy="service-role/AmazonEBSCSIDriverPolicy",
        role="ebs",
        service_account="ebs-csi-controller-sa",
    ),
)
