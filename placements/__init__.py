"""Where workloads run: one package per placement."""
