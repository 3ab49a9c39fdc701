"""Spark for one user at a time: the service that starts a user's Connect server and jobs, and its client."""
