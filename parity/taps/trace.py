"""Traces: what the reference computed, on disk, to be checked on machines that have only MLX.

`trace.json` says what and where from, with a sha256 of every file and of itself; one safetensors file per utterance.
Arrays of an utterance, by group:

    plain/<name>        waveform, fbank, feats, and discrete outcomes of the float32 reference (firings, counts, ids)
    propagated/<tap>    what each tapped module returned on its model's own inputs: float64 truth and float32 reference
    introduced/<tap>    the same where both were given the same inputs, the truth's in float32 (steps included)
    input/<module>/<n>  those inputs

propagated and introduced are packed (packing.py), FunASR's run in a half precision beside them where there was one.
Writing utterance by utterance keeps memory flat at full size. Traces of the version before hold no half precision.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from mlx_model.errors import CheckpointError, OutputError
from mlx_model.machine.safetensors import header_of, views_of
from parity.taps.packing import Pair, pack
from reports.checking import read_json
from reports.environment import file_sha256

SCHEMA = "trace/5"
READ = (SCHEMA, "trace/4")
META = {"source", "checkpoint_sha256", "family", "taps", "steps", "structure", "reference_rows"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedUtterance:
    """One utterance: its audio, what the float32 reference made of it, its file, and the order of its taps.

    `inputs` gives, per isolated module, the input arrays by argument number; equal ones are stored once. `more` is what
    only its family says of it (segments, FunASR's own code paths).
    """

    utt_id: str
    path: str
    duration_s: float
    text: str
    token_ids: list[int]
    file: str
    sha256: str
    propagated: list[str]
    introduced: list[str]
    inputs: dict[str, dict[str, str]]
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Recorded:
    """The arrays of one utterance. Taps are {name: (truth, reference)}; inputs {module: {argument: array}}."""

    plain: dict[str, np.ndarray]
    propagated: dict[str, Pair]
    introduced: dict[str, Pair] = field(default_factory=dict)
    inputs: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    def under(self, precision: str) -> Recorded:
        """Return the same with FunASR in a half precision in the place of float32's; what it was not run in is left."""
        groups = [
            {name: pair.under(precision) or pair for name, pair in group.items()}
            for group in (self.propagated, self.introduced)
        ]
        return Recorded(plain=self.plain, propagated=groups[0], introduced=groups[1], inputs=self.inputs)


class Trace:
    """A trace directory, read or being written.

    `meta` holds the reference's description: source, sha256 of its files, family, environment, what was recorded, in
    `reference_rows` where FunASR differs from itself, and in `halves` the half precisions it was run in as well, each
    with why it gives no floor ("" where it does).
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
            OutputError: there is none, it is of another version, was changed since, or is empty.
        """
        path = directory / "trace.json"
        if not path.is_file():
            raise OutputError(f"{directory}: no trace.json; record one with `mlx-funasr parity record SRC {directory}`")
        try:
            document = read_json(path)
        except (OSError, ValueError) as error:
            raise OutputError(f"{error}; record the trace again") from error
        if not isinstance(document, dict) or document.get("schema") not in READ:
            found = document.get("schema") if isinstance(document, dict) else None
            raise OutputError(f"{path}: schema {found!r}, expected {SCHEMA!r}; record it again with this version")
        if document.pop("sha256", None) != _digest(document):
            raise OutputError(f"{path}: its sha256 does not match; it was changed after recording, record it again")
        try:
            utterances = [TracedUtterance(**row) for row in document["utterances"]]
            missing = META - document["meta"].keys()
            outside = any(Path(row.file).name != row.file for row in utterances)
        except (TypeError, KeyError, AttributeError) as error:
            raise OutputError(f"{path}: not a trace of this version ({error}); record it again") from error
        if missing:
            raise OutputError(f"{path}: does not say its {', '.join(sorted(missing))}; record it again")
        if outside:
            raise OutputError(f"{path}: names a file outside its folder; that is not a trace of ours")
        if not utterances:
            raise OutputError(f"{path}: the trace holds no utterances")
        return cls(directory, document["meta"], utterances)

    def add(self, row: dict[str, Any], recorded: Recorded) -> None:
        """Write one utterance: `row` holds utt_id, path, duration_s, text, token_ids, more."""
        file = f"{len(self.utterances):05d}.safetensors"
        flat = {f"plain/{name}": value for name, value in recorded.plain.items()}
        for group, pairs in (("propagated", recorded.propagated), ("introduced", recorded.introduced)):
            for tap, pair in pairs.items():
                parts = pack(pair[0], pair[1], pair.halves())
                flat |= {f"{group}/{tap}/{part}": value for part, value in parts.items()}
        inputs = _share(recorded.inputs, flat)
        (self.directory / file).write_bytes(save({key: np.ascontiguousarray(value) for key, value in flat.items()}))
        self.utterances.append(
            TracedUtterance(
                **row,
                file=file,
                sha256=file_sha256(self.directory / file),
                propagated=list(recorded.propagated),
                introduced=list(recorded.introduced),
                inputs=inputs,
            )
        )

    def finish(self, meta: dict[str, Any]) -> None:
        """Write trace.json, last: a trace without it does not open."""
        self.meta = meta
        document = {"schema": SCHEMA, "meta": meta, "utterances": [dataclasses.asdict(row) for row in self.utterances]}
        text = json.dumps({**document, "sha256": _digest(document)}, ensure_ascii=False, indent=1)
        (self.directory / "trace.json").write_text(text + "\n", "utf-8")

    def read(self) -> Reading:
        """Return an iterator over all utterances with their arrays."""
        return Reading(self)

    def size_mb(self) -> float:
        """Return how much its arrays take on disk."""
        return sum((self.directory / row.file).stat().st_size for row in self.utterances) / 1e6

    def waveform(self, utterance: TracedUtterance) -> np.ndarray:
        """Return the audio of one utterance, (S,) float32; its file is taken to have been checked by `arrays`."""
        path = self.directory / utterance.file
        entry = header_of(path)["plain/waveform"]
        return np.fromfile(path, np.float32, entry.shape[0], offset=entry.start)

    def arrays(self, utterance: TracedUtterance) -> Recorded:
        """Return the arrays of one utterance.

        Raises:
            OutputError: its file is missing, damaged or not the one that was recorded.
        """
        path = self.directory / utterance.file
        try:
            whole = np.empty(path.stat().st_size, dtype=np.uint8)
            with path.open("rb") as stream:  # once: what is hashed is what is compared, and nothing is copied
                stream.readinto(whole.data)
            if hashlib.sha256(whole.data).hexdigest() != utterance.sha256:
                raise OutputError(f"{path}: its sha256 is not the recorded one (damaged or exchanged); record it again")
            return _recorded(utterance, views_of(whole, path))
        except (OSError, KeyError, CheckpointError) as error:
            raise OutputError(f"{path}: cannot be read ({error}); record the trace again") from error


class Reading(Iterator[tuple[TracedUtterance, Recorded]]):
    """Every utterance of a trace with its arrays; `ahead` reads the next one's on a thread of its own.

    Reading at full size keeps a core busy for as long as a third of the network's run, and a product on all cores waits
    for its slowest thread: so it is the caller who says when a core is to spare.
    """

    def __init__(self, trace: Trace):
        self._trace, self._left = trace, iter(trace.utterances)
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._coming: tuple[TracedUtterance, Future[Recorded]] | None = None

    def ahead(self) -> None:
        """Begin to read the next utterance, if there is one and it is not being read already."""
        if self._coming is None and (utterance := next(self._left, None)) is not None:
            self._coming = (utterance, self._pool.submit(self._trace.arrays, utterance))

    def __next__(self) -> tuple[TracedUtterance, Recorded]:
        self.ahead()
        if self._coming is None:
            self._pool.shutdown()
            raise StopIteration
        (utterance, arrays), self._coming = self._coming, None
        return utterance, arrays.result()


def _share(inputs: Mapping[str, Mapping[str, np.ndarray]], flat: dict[str, np.ndarray]) -> dict[str, dict[str, str]]:
    """Put input arrays into `flat`, equal ones once (every decoder layer is given encoder_out); return their keys."""
    stored: dict[bytes, str] = {}
    names: dict[str, dict[str, str]] = {}
    for module, arguments in inputs.items():
        for number, value in arguments.items():
            digest = hashlib.sha256(repr(value.shape).encode() + value.tobytes()).digest()
            key = stored.setdefault(digest, f"input/{module}/{number}")
            flat[key] = value
            names.setdefault(module, {})[number] = key
    return names


def _recorded(utterance: TracedUtterance, flat: Mapping[str, np.ndarray]) -> Recorded:
    parts: dict[str, dict[str, np.ndarray]] = {}
    for key, value in flat.items():
        if key.startswith(("propagated/", "introduced/")):
            tap, _, part = key.rpartition("/")
            parts.setdefault(tap, {})[part] = value
    return Recorded(
        plain={key.removeprefix("plain/"): value for key, value in flat.items() if key.startswith("plain/")},
        propagated={tap: Pair(parts[f"propagated/{tap}"]) for tap in utterance.propagated},
        introduced={tap: Pair(parts[f"introduced/{tap}"]) for tap in utterance.introduced},
        inputs={
            module: {number: flat[key] for number, key in arguments.items()}
            for module, arguments in utterance.inputs.items()
        },
    )


def _digest(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
