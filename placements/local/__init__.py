"""The embedded placement: supervised processes on one machine."""
