"""The console's database."""
