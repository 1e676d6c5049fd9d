"""Commands that run a model: one file each. Part of the command line, so they alone here know typer and reports."""
