"""What a comparison is given: recordings, or texts. Whoever runs one side, and a trace, says which by these words."""

from __future__ import annotations

RECORDINGS, TEXTS = "recordings", "texts"
