"""Provider plugins for the Pulumi engine, served from Python (ADR 0004).

`base` turns resource types into a ResourceProvider gRPC service, `keycloak` and `random` are two providers
over it, and `install` writes their launchers.
"""
