"""Resources of Keycloak, compatible with the official `keycloak` provider, that adopt what exists."""
