"""This project timed beside what a user would pick instead: one run, interleaved, results checked, absentees named.

`bench(model, against=[...])` returns a BenchReport. peers.py and cases.py are the tables of who and what is measured.
Importing the package loads neither MLX nor a peer: each side runs in a process of its own.
"""

from __future__ import annotations

from parity.bench.run import bench

__all__ = ["bench"]
