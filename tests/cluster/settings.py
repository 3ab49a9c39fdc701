"""The configuration of every component of the test cluster: pure functions of where its folder is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

NODE = "node"
NODE_ADDRESS = "10.199.0.1"
PEER_ADDRESS = "10.199.0.2"
"""The other end of the node's own interface: nobody answers there."""
API_PORT = 6443
SERVICES = "10.96.0.0/16"
PODS = "10.244.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
PAUSE_IMAGE = "cluster.test/pause:1"
SOCKET = "/run/containerd/containerd.sock"


def kubeconfig(pki: Path, server: str, user: str) -> str:
    """For one of the users of ``certificates``."""
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "test", "cluster": {"server": server, "certificate-authority": f"{pki / 'ca.crt'}"}}
            ],
            "users": [
                {
                    "name": user,
                    "user": {
                        "client-certificate": f"{pki / f'{user}.crt'}",
                        "client-key": f"{pki / f'{user}.key'}",
                    },
                }
            ],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "current-context": "test",
        }
    )


def containerd(folder: Path) -> str:
    """Its ``config.toml`` (version 2). The ``disable_`` and ``restrict_`` ones are for machines whose root
    lacks some capabilities."""
    return f"""\
version = 2
root = "{folder / "containerd"}"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
]
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  max_container_log_line_size = 16384
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{folder / "cni"}"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
"""


def network(folder: Path) -> dict[str, Any]:
    """Each pod by a pair of interfaces of its own, so that nothing depends on how bridges are filtered."""
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(folder / "addresses"),
                    "ranges": [[{"subnet": PODS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def kubelet(folder: Path, cgroup_root: str) -> dict[str, Any]:
    """``KubeletConfiguration``."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": f"{folder / 'pki' / 'ca.crt'}"},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup_root,
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS_ADDRESS],
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "resolvConf": str(folder / "resolv.conf"),
        # The disk is the machine's, and no concern of the cluster.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "localStorageCapacityIsolation": True,
        "serializeImagePulls": False,
        "syncFrequency": "10s",
        "volumePluginDir": str(folder / "volume-plugins"),
        "podLogsDir": str(folder / "pod-logs"),
    }


def proxy(folder: Path) -> dict[str, Any]:
    """``KubeProxyConfiguration``: no sysctl of the machine is touched."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(folder / "admin.kubeconfig")},
        "mode": "iptables",
        "hostnameOverride": NODE,
        "clusterCIDR": PODS,
        "oomScoreAdj": 0,
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def commands(folder: Path) -> dict[str, list[str]]:
    """Arguments of the node's program, by component, in the order in which they start."""
    pki, admin = folder / "pki", folder / "admin.kubeconfig"
    etcd, peers = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    return {
        "etcd": [
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}", "--unsafe-no-fsync", "--log-level=warn",
        ],
        "kube-apiserver": [
            f"--etcd-servers={etcd}", f"--advertise-address={NODE_ADDRESS}", f"--secure-port={API_PORT}",
            f"--service-cluster-ip-range={SERVICES}", f"--client-ca-file={pki / 'ca.crt'}",
            f"--tls-cert-file={pki / 'server.crt'}", f"--tls-private-key-file={pki / 'server.key'}",
            f"--service-account-key-file={pki / 'accounts.key'}",
            f"--service-account-signing-key-file={pki / 'accounts.key'}",
            "--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
            f"--kubelet-client-certificate={pki / 'admin.crt'}", f"--kubelet-client-key={pki / 'admin.key'}",
            "--kubelet-preferred-address-types=InternalIP",
        ],
        "kube-controller-manager": [
            f"--kubeconfig={admin}", "--leader-elect=false", f"--root-ca-file={pki / 'ca.crt'}",
            f"--service-account-private-key-file={pki / 'accounts.key'}", f"--cluster-cidr={PODS}",
            "--use-service-account-credentials=false", "--bind-address=127.0.0.1",
        ],
        "kube-scheduler": [f"--kubeconfig={admin}", "--leader-elect=false", "--bind-address=127.0.0.1"],
        "kubelet": [
            f"--config={folder / 'kubelet.yaml'}", f"--kubeconfig={folder / 'kubelet.kubeconfig'}",
            f"--hostname-override={NODE}", f"--node-ip={NODE_ADDRESS}", f"--root-dir={folder / 'kubelet'}",
        ],
        "kube-proxy": [f"--config={folder / 'proxy.yaml'}"],
    }  # fmt: skip
