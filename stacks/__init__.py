"""The two stacks: composition only, readable top to bottom as the data flows (DESIGN §3)."""
