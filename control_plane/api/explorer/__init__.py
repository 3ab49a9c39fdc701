"""What there is to read, as the asking user."""
