"""What runs in a lab: one folder per component, on any placement (DESIGN §3)."""
