"""Measuring: taps, tap sets, traces, distances, verdicts. NumPy only, neither torch nor MLX."""
