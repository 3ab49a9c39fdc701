"""The governor: the core service that keeps, publishes and reconciles access data (DESIGN §7)."""
