"""One file a family: its Model, read from top to bottom in five minutes."""
