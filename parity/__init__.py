"""Reference against candidate: layer by layer (layers), character by character (cer), on a bundled example (demo)."""
