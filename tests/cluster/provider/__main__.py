"""``python -m tests.cluster.provider``: the plugin process."""

from plugins.serving import run
from tests.cluster.provider.provider import KubernetesProvider

if __name__ == "__main__":
    run(KubernetesProvider())
