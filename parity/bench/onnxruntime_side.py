"""FunASR's own ONNX export through onnxruntime, float32 and int8, with funasr-onnx's front end and text.

The export is one graph, so encoder, predictor and decoder have no times of their own: `network` is all three.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from parity.bench.peer import Peer, python

SCRIPT = """
import sys
from funasr_onnx import Paraformer
model = Paraformer(sys.argv[1], quantize={quantize}, intra_op_num_threads=int(sys.argv[3]))
print("text:", model(sys.argv[2])[0]["preds"][0])
"""
EXTRA = "pip install 'mlx-funasr[bench,reference]'"


class OnnxRuntime(Peer):
    """funasr_onnx.Paraformer as it is; only dither is set to 0, which released models leave at 1.

    It switches onnxruntime's memory arena off; with the arena its times were the same (10 s and 30 s, both precisions).
    """

    name = "onnxruntime"
    what = "FunASR's ONNX export, funasr-onnx on onnxruntime, CPU"
    needs = {  # noqa: RUF012
        "torch": EXTRA, "funasr": EXTRA, "onnx": EXTRA, "onnxruntime": EXTRA,
        "funasr_onnx": "pip install --no-deps funasr-onnx==0.4.3 (it works with, but does not allow, NumPy 2)",
    }  # fmt: skip
    distributions = ("onnxruntime", "funasr-onnx", "onnx")
    exports = ("onnx",)
    folder = "onnx"
    graph = "model.onnx"
    remark = "funasr-onnx leaves out the last token where predictor_bias is 1"
    files = ("model.onnx", "config.yaml", "am.mvn", "tokens.json")

    def load(self) -> None:
        """Open the graph as funasr-onnx does."""
        from funasr_onnx import Paraformer  # pyright: ignore[reportMissingImports]

        quantize = self.graph != OnnxRuntime.graph
        self.model = Paraformer(self.path, quantize=quantize, intra_op_num_threads=self.threads)
        self.model.frontend.opts.frame_opts.dither = 0.0

    def stages(self) -> Iterator[str]:
        """Do what funasr_onnx.Paraformer does between waveforms and text."""
        feats, lengths = self.model.extract_feat(list(self.waveforms))
        yield "frontend"
        logits, counts = self.model.infer(feats, lengths)
        yield "network"
        self.ids = self.best(logits, counts.tolist())

    def transcribe(self, files: Sequence[str]) -> list[str]:
        """Return the texts of one call; funasr-onnx takes one file at a time by default."""
        return [result["preds"][0] for result in self.model(list(files))]

    @property
    def library(self) -> str:
        """The execution provider."""
        return ", ".join(self.model.ort_infer.session.get_providers())

    @classmethod
    def command(cls, path: str, audio: str, threads: int, device: str, job: str) -> list[str]:
        """Return the shortest program of funasr-onnx's documentation."""
        return python(SCRIPT.format(quantize=cls.graph != OnnxRuntime.graph), path, audio, str(threads))


class OnnxRuntimeInt8(OnnxRuntime):
    """The same graph, its MatMul weights quantised as FunASR's export does it."""

    name = "onnxruntime-int8"
    what = "the same export, MatMul weights quantised dynamically to int8 as FunASR does it"
    exports = ("onnx", "int8")
    graph = "model_quant.onnx"
    files = ("model_quant.onnx", "config.yaml", "am.mvn", "tokens.json")
    precision = "int8"
