"""A provider plugin ``kubernetes`` for machines without the official one: the objects that the lab registers,
by server-side apply against a real API."""
