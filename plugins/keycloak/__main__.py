"""``python -m plugins.keycloak``: the plugin process."""

from plugins.keycloak.provider import KeycloakProvider
from plugins.serving import run

if __name__ == "__main__":
    run(KeycloakProvider())
