"""Tokens to text, results, and the formats they are written in."""
