"""Reconcilers: the catalog's and Keycloak's state follows from access data and Keycloak's groups."""
