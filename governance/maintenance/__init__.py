"""Maintenance of Iceberg tables: policies, what they mean for a table now, and runs through Trino."""
