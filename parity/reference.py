"""The reference: the real FunASR, loaded, proved equal to its checkpoint, and run one utterance at a time.

The only file that imports funasr, and only in a process of its own: a BLAS loaded with RTLD_GLOBAL for MLX would take
over torch's matrix products too, and so change the numbers we measure against. `record` and `transcribe` start that
process (`python -m parity.reference REQUEST`), pass a JSON request, and read what it wrote. Must not import mlx.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlx_model.errors import CheckpointError, DependencyError, MlxFunasrError
from parity.layers.trace import Trace, TracedUtterance

INSTALL = "the FunASR reference needs torch and funasr: pip install 'mlx-funasr[reference]'"
PROGRESS = "mlx-funasr-progress "  # FunASR prints on stdout as it pleases; our lines carry this mark
Progress = Callable[[float], None]


# ---- the caller's side


def record(
    src: str | Path,
    audio: Sequence[tuple[str, Path]],
    trace: Path,
    *,
    family: str = "paraformer",
    progress: Progress | None = None,
) -> Trace:
    """Run FunASR over the audio in float32 and float64 and return the trace written to `trace`, waveforms included.

    Args:
        src: FunASR model directory, model.pt beside its config, or hub id.
        audio: (utt_id, path) pairs.
        trace: directory for trace.json and the arrays.
        family: names the tap set.
        progress: called with 1.0 for every utterance done.

    Raises:
        DependencyError: torch or funasr is not installed.
        CheckpointError: the loaded model is not the checkpoint.
    """
    _ask(
        {
            "task": "record",
            "src": str(src),
            "audio": [[u, str(p)] for u, p in audio],
            "out": str(trace),
            "family": family,
        },
        progress,
    )
    return Trace.open(trace)


def transcribe(src: str | Path, paths: Sequence[str | Path], progress: Progress | None = None) -> list[dict[str, Any]]:
    """Return FunASR's own text of each file: `{path, text, token_ids, duration_s, error}`, in order, dither 0.

    Uses AutoModel.generate on the file itself, so decoding and resampling are FunASR's too.
    """
    with tempfile.TemporaryDirectory(prefix="mlx-funasr-") as folder:
        out = Path(folder) / "transcripts.json"
        _ask({"task": "transcribe", "src": str(src), "audio": [str(path) for path in paths], "out": str(out)}, progress)
        return json.loads(out.read_text("utf-8"))


def _ask(request: dict[str, Any], progress: Progress | None) -> None:
    """Run one request in a child process; its error becomes ours."""
    python = os.environ.get("MLX_FUNASR_REFERENCE_PYTHON", sys.executable)
    here = str(Path(__file__).resolve().parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))}
    environment.pop("LD_PRELOAD", None)
    with tempfile.TemporaryDirectory(prefix="mlx-funasr-") as folder:
        failure, log = Path(folder) / "failure.json", Path(folder) / "log"
        path = Path(folder) / "request.json"
        path.write_text(json.dumps({**request, "failure": str(failure)}), "utf-8")
        with (
            log.open("wb") as stderr,
            subprocess.Popen(
                [python, "-m", "parity.reference", str(path)],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env=environment,
            ) as child,
        ):
            for line in child.stdout or ():
                if line.startswith(PROGRESS) and progress is not None:
                    progress(float(line.removeprefix(PROGRESS)))
        if failure.is_file():
            report = json.loads(failure.read_text("utf-8"))
            raise {"DependencyError": DependencyError, "CheckpointError": CheckpointError}.get(
                report["kind"], MlxFunasrError
            )(report["message"])
        if child.returncode:
            last = (log.read_text("utf-8", "replace").strip().splitlines() or ["no output"])[-1]
            raise MlxFunasrError(f"FunASR failed on {request['src']}: {last}")


# ---- the child's side: everything below runs beside torch and funasr


def load(src: str, dtype: str = "float32") -> Any:
    """Return FunASR's AutoModel for `src` on the CPU: eval mode, dither 0, proved equal to its checkpoint.

    Raises:
        DependencyError: torch or funasr is missing.
        CheckpointError: see `prove`.
    """
    try:
        import funasr
        import torch
    except ImportError as error:
        raise DependencyError(f"{INSTALL} ({error})") from error
    options: dict[str, Any] = {"model": src, "device": "cpu", "disable_update": True, "disable_pbar": True}
    if src.startswith("hf:"):
        options |= {"model": src.removeprefix("hf:"), "hub": "hf"}
    elif src.endswith((".pt", ".pth")):
        options |= {"model": str(Path(src).parent), "init_param": src}
    with contextlib.redirect_stdout(sys.stderr):
        auto = funasr.AutoModel(**options, log_level="ERROR", frontend_conf={"dither": 0.0}, ncpu=os.cpu_count())
    prove(auto.model, str(auto.kwargs["init_param"]))
    auto.model.eval().to(getattr(torch, dtype))
    return auto


def prove(model: Any, checkpoint: str) -> None:
    """Raise CheckpointError unless every tensor of the model equals the checkpoint's, bit for bit.

    FunASR's loader keeps random weights for missing keys and wrong shapes, with a line in the log.
    Mirrors the unwrapping in funasr/train_utils/load_pretrained_model.py.
    """
    import torch

    state = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    for wrapper in ("state_dict", "model_state_dict", "model"):
        state = state.get(wrapper, state)
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    for name, tensor in model.state_dict().items():
        if name not in state:
            raise CheckpointError(f"{checkpoint}: {name} is missing; FunASR would run with random weights there")
        if not torch.equal(tensor, state[name].to(tensor.dtype)):
            raise CheckpointError(
                f"{checkpoint}: {name} {tuple(state[name].shape)} was not loaded into the model's {tuple(tensor.shape)}"
            )


def _infer(auto: Any, feats: Any, lengths: Any, tokenizer: Any) -> dict[str, Any]:
    """Return FunASR's own `inference` of one utterance's features: {"text"} with a tokenizer, else {"token_int"}."""
    import torch

    options = {key: value for key, value in auto.kwargs.items() if key not in ("tokenizer", "frontend")}
    options["data_type"] = "fbank"
    with torch.inference_mode():
        results = auto.model.inference(
            feats, lengths[:, None], key=["utt"], tokenizer=tokenizer, frontend=None, **options
        )
    return results[0][0] if results and results[0] else {"text": "", "token_int": []}  # no token at all: []


def _tapped(auto: Any, feats: Any, lengths: Any, tapset: Any) -> dict[str, Any]:
    """Return {tap: array} of one utterance, token ids among them."""
    from parity.layers.tap import record as tapped

    with tapped(auto.model, tapset.patterns(name for name, _ in auto.model.named_modules())) as seen:
        ids = _infer(auto, feats, lengths, None)["token_int"]
    taps = tapset.collect(seen)
    taps["predictor.fires"] = taps["predictor.fires"] >= 1.0  # FunASR marks a firing by 1 + the remainder
    taps["predictor.token_num"] = taps["predictor.token_num"].round().astype("int32")
    return {**taps, "token_ids": np.array(ids, dtype=np.int32)}


@contextlib.contextmanager
def _fbank_tap() -> Iterator[list[Any]]:
    """Catch what FunASR's front end gets from its fbank back end, which is a function, not a module."""
    from funasr.frontends import wav_frontend

    original, seen = wav_frontend.kaldi.fbank, []

    def fbank(*args: Any, **kwargs: Any) -> Any:
        seen.append(original(*args, **kwargs))
        return seen[-1].clone()  # LFR and CMVN write in place

    wav_frontend.kaldi.fbank = fbank
    try:
        yield seen
    finally:
        wav_frontend.kaldi.fbank = original


def _features(auto: Any, path: str) -> tuple[dict[str, Any], Any, Any, float]:
    """Return ({waveform, fbank, feats}, feats tensor, lengths, duration in seconds) of one file."""
    import torch

    from mlx_model.audio import load_audio

    frontend = auto.kwargs["frontend"]
    waveform = torch.from_numpy(load_audio(path, frontend.fs))
    with _fbank_tap() as seen:
        feats, lengths = frontend(waveform[None], torch.tensor([len(waveform)]))
    taps = {"waveform": waveform.numpy(), "fbank": seen[0].numpy()[None], "feats": feats.numpy().copy()}
    return taps, feats, lengths, len(waveform) / frontend.fs


def _record(request: dict[str, Any]) -> None:
    from parity.layers.tapset import load_tapset

    tapset = load_tapset(request["family"])
    trace = Trace.create(Path(request["out"]))
    auto = load(request["src"])
    double = load(request["src"], "float64")
    for number, (utt_id, path) in enumerate(request["audio"]):
        taps, feats, lengths, duration = _features(auto, path)
        single, truth = _tapped(auto, feats, lengths, tapset), _tapped(double, feats.double(), lengths, tapset)
        text, ids = _infer(auto, feats, lengths, auto.kwargs["tokenizer"])["text"], single["token_ids"].tolist()
        arrays = {f"float32/{name}": array for name, array in {**taps, **single}.items()}
        arrays |= {f"float64/{name}": array for name, array in truth.items()}
        row = TracedUtterance(
            utt_id=utt_id,
            path=path,
            duration_s=duration,
            text=text,
            token_ids=ids,
            file=f"{number:05d}.safetensors",
            keys=list(arrays),
        )
        trace.add(row, arrays)
        print(f"{PROGRESS}1", flush=True)
    trace.finish(
        {"source": request["src"], "family": request["family"], "precisions": ["float32", "float64"], **_versions()}
    )


def _versions() -> dict[str, Any]:
    from reports.environment import describe

    return {"environment": describe()}


def _transcribe(request: dict[str, Any]) -> None:
    import soundfile

    auto = load(request["src"])
    rows = []
    for path in request["audio"]:
        row: dict[str, Any] = {"path": path, "text": "", "token_ids": [], "duration_s": 0.0, "error": None}
        try:
            with contextlib.redirect_stdout(sys.stderr):
                results = auto.generate(input=path)
            row["text"] = results[0].get("text", "") if results else ""
            with contextlib.suppress(soundfile.LibsndfileError):
                row["duration_s"] = soundfile.info(path).duration
        except Exception as error:
            row["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
        rows.append(row)
        print(f"{PROGRESS}1", flush=True)
    Path(request["out"]).write_text(json.dumps(rows, ensure_ascii=False), "utf-8")


def main(request_path: str) -> int:
    """Carry out one request; a foreseen error is written where the caller looks for it."""
    request = json.loads(Path(request_path).read_text("utf-8"))
    try:
        {"record": _record, "transcribe": _transcribe}[request["task"]](request)
    except MlxFunasrError as error:
        report = {"kind": type(error).__name__, "message": str(error)}
        Path(request["failure"]).write_text(json.dumps(report, ensure_ascii=False), "utf-8")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
