"""Tests with the real Pulumi engine."""
