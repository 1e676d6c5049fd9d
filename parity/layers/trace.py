"""Traces: what a run computed, on disk. trace.json says what and where from; one safetensors file per utterance.

Keys inside a file are `<precision>/<tap>`: `float64/encoder.after_norm` is the truth, `float32/...` the reference as
users run it. Writing utterance by utterance keeps memory flat at full size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mlx_model.errors import OutputError

SCHEMA = "trace/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedUtterance:
    """One utterance: its audio, what the float32 reference made of it, and its arrays (`keys` keeps their order)."""

    utt_id: str
    path: str
    duration_s: float
    text: str
    token_ids: list[int]
    file: str
    keys: list[str]


class Trace:
    """A trace directory, read or being written.

    `meta` holds the reference's description: source, sha256, family, versions, precisions, notes.
    """

    def __init__(self, directory: Path, meta: dict[str, Any], utterances: list[TracedUtterance]):
        self.directory, self.meta, self.utterances = directory, meta, utterances

    @classmethod
    def create(cls, directory: Path) -> Trace:
        """Return an empty trace to be filled; the directory is made."""
        directory.mkdir(parents=True, exist_ok=True)
        return cls(directory, {}, [])

    @classmethod
    def open(cls, directory: Path) -> Trace:
        """Return the trace in a directory.

        Raises:
            OutputError: there is none, or it is of another version, or empty.
        """
        path = directory / "trace.json"
        if not path.is_file():
            raise OutputError(f"{directory}: no trace.json; record one with `mlx-funasr parity record SRC {directory}`")
        document = json.loads(path.read_text("utf-8"))
        if document.get("schema") != SCHEMA:
            raise OutputError(f"{path}: schema {document.get('schema')!r}, expected {SCHEMA!r}; record it again")
        utterances = [TracedUtterance(**row) for row in document["utterances"]]
        if not utterances:
            raise OutputError(f"{path}: the trace holds no utterances")
        return cls(directory, document["meta"], utterances)

    def add(self, utterance: TracedUtterance, arrays: Mapping[str, np.ndarray]) -> None:
        """Write one utterance's arrays; keys are `<precision>/<tap>`."""
        contiguous = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
        save_file(contiguous, str(self.directory / utterance.file))
        self.utterances.append(utterance)

    def finish(self, meta: dict[str, Any]) -> None:
        """Write trace.json, last: a trace without it does not open."""
        self.meta = meta
        rows = [{field: getattr(row, field) for field in row.__slots__} for row in self.utterances]
        text = json.dumps({"schema": SCHEMA, "meta": meta, "utterances": rows}, ensure_ascii=False, indent=1)
        (self.directory / "trace.json").write_text(text + "\n", "utf-8")

    def arrays(self, utterance: TracedUtterance) -> dict[str, dict[str, np.ndarray]]:
        """Return {precision: {tap: array}} of one utterance.

        Raises:
            OutputError: its file is missing or damaged.
        """
        path = self.directory / utterance.file
        try:
            flat = load_file(str(path))
        except (OSError, SafetensorError) as error:
            raise OutputError(f"{path}: cannot be read ({error}); record the trace again") from error
        result: dict[str, dict[str, np.ndarray]] = {}
        for key in utterance.keys:  # safetensors sorts by name; the network's order is kept here
            if key not in flat:
                raise OutputError(f"{path}: {key} is missing; record the trace again")
            precision, tap = key.split("/", 1)
            result.setdefault(precision, {})[tap] = flat[key]
        return result
