"""Rows into Iceberg tables: reading files in bounded memory, and committing all of them or nothing."""
