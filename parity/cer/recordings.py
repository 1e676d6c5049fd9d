"""Utterances -> audio files, because engines take paths: parts, tar members and commands become temporary files.

The cutting itself is parts.py. Must not import mlx, torch or funasr.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections import OrderedDict
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mlx_model.audio import files as audio
from mlx_model.errors import AudioError, MlxFunasrError, OutputError
from mlx_model.files.scratch import scratch
from mlx_model.machine import children
from parity.cer.lists import quoted, shown
from parity.cer.parts import header_duration_s, source_name, write_part
from parity.cer.readers.tar import Member, members, open_member
from parity.cer.readers.testset import Utterance

COMMAND_TIMEOUT_S = 600.0  # no single recording takes as long to convert; a command that waits for input would for ever
COMMANDS_KEPT = 4  # outputs of commands whose parts are asked for: consecutive parts are mostly of one recording
_BLOCK = 1 << 20  # bytes copied at once


class Recordings:
    """A context manager that owns a temporary folder; usable from several threads at once.

        with Recordings() as recordings:
            path = recordings.path(utterance)
            ...
            recordings.release(path)

    Leaving the context deletes every file it has made, also after an exception.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._archives: dict[Path, dict[str, Member]] = {}
        self._outputs: OrderedDict[tuple[Path, str], Path] = OrderedDict()
        self._decoded: tuple[object, np.ndarray] | None = None
        self._temporary: Path | None = None
        self._leaving = ExitStack()

    def __enter__(self) -> Recordings:
        self._temporary = self._leaving.enter_context(scratch("cer"))
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._leaving.close()
            self._temporary = self._decoded = None
            self._outputs.clear()

    def path(self, utterance: Utterance) -> Path:
        """Return a file that holds this utterance and nothing else: its own one where that is so, else a temporary one.

        A part is a WAV at the recording's own rate, 16-bit where the recording is, else float32, sample for sample
        what decoding the whole would give (Opus apart, where a seek is good to 1e-3 of full scale, the same each
        time). What libsndfile cannot read is decoded by mlx_model.audio, and cut at 16 kHz, mono. A command runs in
        /bin/sh, in the folder of the list that holds it.

        Raises:
            AudioError: the part, the member or the command's output cannot be had; one line.
            OutputError: the disk of the temporary folder is full.
        """
        part = _is_part(utterance)
        if not part and utterance.member is None and utterance.command is None:
            return utterance.path
        target = self._new(".wav" if part or utterance.command is not None else _suffix(utterance.member or ""))
        try:
            if part:
                self._cut(utterance, target)
            elif utterance.command is not None:
                _run(utterance.command, utterance.path.parent, target)
            else:
                self._copy(utterance, target)
        except BaseException as error:
            target.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise OutputError(f"{shown(target.parent)}: {error.strerror}; set TMPDIR to a larger disk") from error
            if isinstance(error, (MlxFunasrError, OSError, ValueError, MemoryError)):
                raise AudioError(self._reason(error, utterance)) from error
            raise
        return target

    def _reason(self, error: Exception, utterance: Utterance) -> str:
        """Return one line that names the recording as the list does, not the file it was unpacked to."""
        if not isinstance(error, MlxFunasrError):
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            return f"{source_name(utterance)}: {' '.join(reason.split())[:200]}"
        if self._temporary is None:
            return str(error)
        unpacked = re.escape(os.fspath(self._temporary)) + r"/\d+\.wav"
        return re.sub(unpacked, lambda _: source_name(utterance), str(error))

    def release(self, path: Path) -> None:
        """Delete a temporary file that `path` gave; a file that is not one of them is left alone."""
        if self._temporary is not None and os.path.dirname(path) == os.fspath(self._temporary):
            Path(path).unlink(missing_ok=True)

    def duration_s(self, utterance: Utterance) -> float:
        """Return the length in seconds as the list or the header says it, for sorting; 0.0 where neither does.

        No command is run for it, and audio is decoded only where its header does not say.
        """
        if utterance.duration_s is not None:
            return utterance.duration_s
        start_s = utterance.start_s or 0.0
        if utterance.end_s is not None:
            return utterance.end_s - start_s
        try:
            return max(0.0, self._whole_duration_s(utterance) - start_s)
        except (MlxFunasrError, OSError, ValueError):
            return 0.0

    def _whole_duration_s(self, utterance: Utterance) -> float:
        if utterance.command is not None:
            return 0.0
        if utterance.member is None:
            return audio.duration_s(utterance.path)
        with self._window(utterance) as window:
            return header_duration_s(window)

    def _new(self, suffix: str) -> Path:
        if self._temporary is None:
            raise RuntimeError("Recordings is used outside its `with` block")
        return Path(self._temporary, f"{next(self._numbers):08d}{suffix}")

    def _window(self, utterance: Utterance) -> BinaryIO:
        """Return the bytes of a tar's member as a file of their own; the tar's index is made once."""
        with self._lock:
            if utterance.path not in self._archives:
                found = {member.name: member for member in members(utterance.path)}
                self._archives[utterance.path] = found
            member = self._archives[utterance.path].get(utterance.member or "")
        if member is None:
            raise AudioError(f"{source_name(utterance)}: the archive holds no such file")
        return open_member(utterance.path, member)

    def _copy(self, utterance: Utterance, target: Path) -> None:
        with self._window(utterance) as window, open(target, "wb") as file:
            shutil.copyfileobj(window, file, _BLOCK)

    def _cut(self, utterance: Utterance, target: Path) -> None:
        if utterance.command is not None:
            with self._lock:  # held while cutting, so that no other thread's command drops the file
                write_part(self._output(utterance), utterance, target, self._decode)
        elif utterance.member is not None:
            with self._window(utterance) as window:
                write_part(window, utterance, target, self._decode)
        else:
            write_part(utterance.path, utterance, target, self._decode)

    def _output(self, utterance: Utterance) -> Path:
        """Return the kept output of the utterance's command, which is run where it is not kept any more."""
        command, folder = utterance.command or "", utterance.path.parent
        if (folder, command) not in self._outputs:
            while len(self._outputs) >= COMMANDS_KEPT:
                self._outputs.popitem(last=False)[1].unlink(missing_ok=True)
            output = self._new(".wav")
            try:
                _run(command, folder, output)
            except BaseException:
                output.unlink(missing_ok=True)
                raise
            self._outputs[folder, command] = output
        self._outputs.move_to_end((folder, command))
        return self._outputs[folder, command]

    def _decode(self, source: Path | BinaryIO, key: object) -> np.ndarray:
        """Return the whole recording at 16 kHz, mono, by mlx_model.audio; the last one is kept for its other parts."""
        with self._lock:
            if self._decoded is None or self._decoded[0] != key:
                self._decoded = (key, audio.load_audio(source))
            return self._decoded[1]


def _is_part(utterance: Utterance) -> bool:
    return any(value is not None for value in (utterance.start_s, utterance.end_s, utterance.channel))


def _suffix(member: str) -> str:
    """Return the member's suffix where it is a plain one: decoders of headerless audio look at it."""
    match = re.search(r"\.[A-Za-z0-9]{1,8}$", member)
    return match[0] if match else ""


def _run(command: str, folder: Path, target: Path) -> None:
    """Write what the shell command prints to `target`; AudioError with its last words where it fails."""
    with open(target, "wb") as output, tempfile.TemporaryFile() as errors:
        # A file, not a pipe, takes the errors: what the command leaves behind would hold a pipe open.
        pipes = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": errors}
        with children.started(command, shell=True, cwd=folder, **pipes) as process:
            try:
                code: int | None = process.wait(COMMAND_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                code = None
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - 4096))
        words = errors.read().decode("utf-8", "replace").strip().splitlines()
    if code != 0 or not target.stat().st_size:
        found = "took too long" if code is None else f"ended with {code}" if code else "printed nothing"
        last = f": {shown(words[-1].strip())}" if words else ""
        raise AudioError(f"{shown(folder)}: the command {quoted(command)} {found}{last}")
