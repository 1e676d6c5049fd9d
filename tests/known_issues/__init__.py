"""Bugs that users met, one file each: its first line is the symptom."""
