"""Configurations: sections of shared parts, and one file a family. Stdlib only."""
