"""The console: what people look at, and the API behind it."""
