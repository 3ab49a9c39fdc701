"""The semantic layer: what tables mean, declared in YAML, and questions read against it without a model."""
