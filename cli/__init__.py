"""The ``lab`` command: operations over the stacks and their presentation."""
