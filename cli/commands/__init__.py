"""Presentation of the operations, by task. Heavy modules are loaded only when a command runs."""
