"""What decides: Rego for data access, the seed of access data, and the guardrails of deployments."""
