"""``python -m plugins.random``: the plugin process."""

from plugins.random.provider import RandomProvider
from plugins.serving import run

if __name__ == "__main__":
    run(RandomProvider())
