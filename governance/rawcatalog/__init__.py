"""The door through which raw engines reach a catalog that has no grants on tables (Nessie)."""
