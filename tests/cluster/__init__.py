"""A real Kubernetes of one node, and the lab's placement on it."""
