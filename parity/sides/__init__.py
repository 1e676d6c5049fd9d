"""The two sides: FunASR in a process of its own, the candidate here."""
