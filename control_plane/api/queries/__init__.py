"""Statements run as the asking user, and their results."""
