"""The audit: what Trino and OPA report, on disk until the governance database has it, joined by query."""
