"""Random values kept in state, compatible with the official `random` provider; randomness from `secrets`."""
