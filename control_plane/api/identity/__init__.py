"""Who calls, and tokens in their name."""
