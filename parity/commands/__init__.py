"""The command line of parity, cer, bench, doctor and demo: one call each of what stands beside."""
