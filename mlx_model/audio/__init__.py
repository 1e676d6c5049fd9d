"""Recordings of every format to waveforms."""
