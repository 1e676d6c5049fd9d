"""Activations and firings: taps, traces, comparison; `run` is the entry point of `parity run`."""
