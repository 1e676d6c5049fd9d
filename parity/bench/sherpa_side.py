"""sherpa-onnx on FunASR's ONNX export, which it opens once the graph carries its metadata (exports.py adds them).

Its front end, network and search are one C++ call, so only end to end and the whole process can be timed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from parity.bench.onnxruntime_side import EXTRA
from parity.bench.peer import Peer, python

SCRIPT = """
import sys
import sherpa_onnx
import soundfile
recognizer = sherpa_onnx.OfflineRecognizer.from_paraformer(
    paraformer=sys.argv[1] + "/model.onnx", tokens=sys.argv[1] + "/tokens.txt", num_threads=int(sys.argv[3]))
samples, rate = soundfile.read(sys.argv[2], dtype="float32")
stream = recognizer.create_stream()
stream.accept_waveform(rate, samples)
recognizer.decode_stream(stream)
print("text:", stream.result.text)
"""


class SherpaOnnx(Peer):
    """sherpa_onnx.OfflineRecognizer; several files are one `decode_streams` call."""

    name = "sherpa-onnx"
    what = "FunASR's ONNX export, sherpa-onnx, CPU"
    needs = {"torch": EXTRA, "funasr": EXTRA, "onnx": EXTRA, "sherpa_onnx": EXTRA}  # noqa: RUF012
    distributions = ("sherpa-onnx",)
    exports = ("onnx",)
    folder = "onnx"
    files = ("model.onnx", "tokens.txt")

    def load(self) -> None:
        """Open the graph and the token table."""
        import sherpa_onnx  # pyright: ignore[reportMissingImports]

        folder = Path(self.path)
        self.number = {token: i for i, token in enumerate(json.loads((folder / "tokens.json").read_text("utf-8")))}
        self.recognizer = sherpa_onnx.OfflineRecognizer.from_paraformer(
            paraformer=str(folder / "model.onnx"), tokens=str(folder / "tokens.txt"), num_threads=self.threads
        )

    def transcribe(self, files: Sequence[str]) -> list[str]:
        """Return the texts; its tokens are looked up in tokens.json, and one it spells otherwise becomes -1."""
        from mlx_model.audio.files import load_audio

        streams = []
        for file in files:
            streams.append(self.recognizer.create_stream())
            streams[-1].accept_waveform(16000, load_audio(file))
        self.recognizer.decode_streams(streams)
        found = [[self.number.get(token, -1) for token in stream.result.tokens] for stream in streams]
        self.ids = [[i for i in row if i not in self.dropped] for row in found]
        return [stream.result.text for stream in streams]

    @property
    def library(self) -> str:
        """The onnxruntime inside its wheel."""
        return "onnxruntime as its wheel brings it"

    @classmethod
    def command(cls, path: str, audio: str, threads: int, device: str, job: str) -> list[str]:
        """Return the shortest program of sherpa-onnx's documentation."""
        return python(SCRIPT, path, audio, str(threads))
