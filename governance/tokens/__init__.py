"""Tokens of one client, kept while they are valid, for an engine that would ask for one at each call."""
