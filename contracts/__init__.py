"""The lab's vocabulary: types, settings and errors; no I/O and no provider SDK (DESIGN §3)."""
