"""The bundled example: a small, really trained FunASR Paraformer, and speech it has never seen. See README.md."""

from __future__ import annotations

from pathlib import Path

MODEL = Path(__file__).parent / "model"  # a FunASR model directory
SPEECH = Path(__file__).parent / "speech"  # an AISHELL-style tree
TRACE = Path(__file__).parent / "trace"  # FunASR's own run of one utterance, for machines without torch
