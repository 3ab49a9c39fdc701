"""Workspaces: a namespace, a group and a quota, made and removed together."""
