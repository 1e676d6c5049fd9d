"""A fuzzer of the command line: random words and damaged files, each command in a process of its own (runner.py)."""
