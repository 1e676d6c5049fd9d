"""The reference: the real FunASR, loaded, proved equal to its checkpoint, and run one utterance at a time.

Only this file and reference_checks.py import funasr, in a process of their own (process.py says why). `record` and
`transcribe` start that process (`python -m parity.reference REQUEST`) and read what it wrote. Must not import mlx.

The truth is the same FunASR in float64. One function is exchanged there: its vectorised CIF rounds running sums to
float32 even in a float64 run, so the truth uses FunASR's own frame-by-frame loop, in float64 throughout.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlx_model.errors import CheckpointError, DependencyError, MlxFunasrError
from parity.layers.packing import Pair
from parity.layers.tap import ARGS
from parity.layers.tap import record as tapped
from parity.layers.tapset import ALWAYS, TapSet, load_tapset
from parity.layers.trace import Recorded, Trace
from parity.process import MARK, Progress, ask_reference, stream_reference

INSTALL = "the FunASR reference needs torch and funasr: pip install 'mlx-funasr[reference]'"
DISCRETE = ("predictor.fires", "predictor.token_num")


# ---- the caller's side


def record(
    src: str | Path,
    audio: Sequence[tuple[str, Path]],
    trace: Path,
    *,
    family: str = "paraformer",
    taps: Sequence[str] = (),
    steps: bool = True,
    progress: Progress | None = None,
) -> Trace:
    """Run FunASR over the audio in float32 and float64 and return the trace written to `trace`, waveforms included.

    Args:
        src: FunASR model directory, model.pt beside its config, or hub id.
        audio: (utt_id, path) pairs.
        trace: directory for trace.json and the arrays.
        family: names the tap set.
        taps: patterns of modules to keep; all of the tap set where empty.
        steps: also what happens inside attention, feed-forward and predictor (a trace four times as large).
        progress: called with 1.0 for every utterance done.

    Raises:
        DependencyError: torch or funasr is not installed.
        CheckpointError: the loaded model is not the checkpoint.
        UsageError: a pattern fits no tap.
    """
    request = {"task": "record", "src": str(src), "audio": [[u, str(p)] for u, p in audio], "out": str(trace)}
    ask_reference({**request, "family": family, "taps": list(taps), "steps": steps}, progress)
    return Trace.open(trace)


def transcribe(src: str | Path, batches: Iterable[Sequence[str | Path]]) -> Iterator[list[dict[str, Any]]]:
    """Yield FunASR's own text of each batch's files: `{path, text, duration_s, error}`, in order, dither 0.

    FunASR decodes them one at a time, with AutoModel.generate on the file itself, so decoding and resampling are its
    own too. One process serves all batches; it starts with the first.
    """
    request = {"task": "transcribe", "src": str(src)}
    yield from stream_reference(request, ([str(path) for path in batch] for batch in batches))


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
        auto = funasr.AutoModel(**options, log_level="ERROR", frontend_conf={"dither": 0.0}, ncpu=_threads())
    prove(auto.model, str(auto.kwargs["init_param"]))
    auto.model.eval().to(getattr(torch, dtype))
    return auto


def _threads() -> int:
    """Return how many threads torch is to use: FunASR sets them itself, whatever the environment says."""
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


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


@contextlib.contextmanager
def exact_cif() -> Iterator[None]:
    """Let FunASR's own loop integrate, in float64 throughout, where it would use prefix sums rounded to float32."""
    import torch
    from funasr.models.paraformer import cif_predictor

    original = cif_predictor.cif_v1
    cif_predictor.cif_v1 = cif_predictor.cif
    torch.set_default_dtype(torch.float64)  # the loop makes its running sum in the default type
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        cif_predictor.cif_v1 = original


class Recorder:
    """Both precisions of one FunASR model, and what is recorded of them."""

    def __init__(self, src: str, tapset: TapSet, taps: Sequence[str], steps: bool):
        self.single, self.double = load(src), load(src, "float64")
        names = [name for name, _ in self.single.model.named_modules()]
        self.tapset = tapset.restricted(taps, names) if taps else tapset
        self.isolated = self.tapset.isolated(names, names)
        self.probes = self.tapset.probes(names, args=True)
        self.inner = self.tapset.inner_probes(names, self.isolated, steps=steps)
        self.probes = list(dict.fromkeys([*self.probes, *ALWAYS]))
        self.collecting = tapset

    def utterance(self, path: str) -> tuple[dict[str, Any], Recorded]:
        """Return (duration, text, token ids) and the arrays of one file."""
        plain, feats, lengths, duration = features(self.single, path)
        own32, ids, _ = self._own(self.single, feats, lengths)
        with exact_cif():
            own64, _, seen = self._own(self.double, feats.double(), lengths)
        inputs, alone = self._alone(seen)
        text = _infer(self.single, feats, lengths, self.single.kwargs["tokenizer"])["text"]
        plain |= {name: own32.pop(name) for name in DISCRETE} | {"token_ids": np.array(ids, dtype=np.int32)}
        own = {name: Pair.of(truth, own32[name]) for name, truth in own64.items() if name in own32}
        row = {"duration_s": duration, "text": text, "token_ids": ids}
        return row, Recorded(plain=plain, own=own, alone=alone, inputs=inputs)

    def _own(self, auto: Any, feats: Any, lengths: Any) -> tuple[dict[str, np.ndarray], list[int], dict[str, Any]]:
        """Return ({tap: array}, token ids, all that was seen) of one model on its own inputs."""
        with tapped(auto.model, self.probes) as seen:
            ids = _infer(auto, feats, lengths, None)["token_int"]
        taps = self.collecting.collect(seen)
        taps["predictor.fires"] = taps["predictor.fires"] >= 1.0  # FunASR marks a firing by 1 + the remainder
        taps["predictor.token_num"] = taps["predictor.token_num"].round().astype("int32")
        return taps, [int(i) for i in ids], seen

    def _alone(self, seen: dict[str, Any]) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Pair]]:
        """Return (inputs, {tap: (float64, float32)}) of every isolated module on the truth's inputs, in float32."""
        inputs: dict[str, dict[str, np.ndarray]] = {}
        alone: dict[str, Pair] = {}
        for module, tap in self.isolated:
            if f"{module}@{ARGS}" not in seen:
                continue  # no token, so the decoder did not run
            args, kwargs = seen[f"{module}@{ARGS}"]
            given = {number: args[int(number)].astype(np.float32) for number in tap.isolate if number.isdigit()}
            args = tuple(given.get(str(number), value) for number, value in enumerate(args))
            truth, single = (self._call(auto, module, tap, args, kwargs) for auto in (self.double, self.single))
            alone |= {name: Pair.of(value, single[name]) for name, value in truth.items() if name not in DISCRETE}
            inputs[module] = given
        return inputs, alone

    def _call(self, auto: Any, module: str, tap: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        import torch

        dtype = next(auto.model.parameters()).dtype

        def tensor(value: Any) -> Any:
            if not isinstance(value, np.ndarray):
                return value
            made = torch.from_numpy(value.copy())
            return made.to(dtype) if made.is_floating_point() else made

        inside = [probe for probe in self.inner if probe.startswith((f"{module}.", f"{module}@")) or probe == module]
        exact = exact_cif() if dtype == torch.float64 else contextlib.nullcontext()
        with exact, tapped(auto.model, inside) as seen, torch.inference_mode():
            auto.model.get_submodule(module)(*map(tensor, args), **{key: tensor(v) for key, v in kwargs.items()})
        return self.tapset.collect_inner(module, tap, seen, reference=True)


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


def features(auto: Any, path: str) -> tuple[dict[str, Any], Any, Any, float]:
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
    from parity.reference_checks import batch_defect, cif_paths, structure
    from reports.environment import describe, file_sha256

    trace = Trace.create(Path(request["out"]))
    recorder = Recorder(request["src"], load_tapset(request["family"]), request["taps"], request["steps"])
    for utt_id, path in request["audio"]:
        row, arrays = recorder.utterance(path)
        trace.add({"utt_id": utt_id, "path": path, **row, "cif_paths": cif_paths(recorder.single, arrays)}, arrays)
        _answer(1.0)
    checkpoint = Path(recorder.single.kwargs["init_param"])
    trace.finish(
        {
            "source": request["src"],
            "family": request["family"],
            "checkpoint_sha256": file_sha256(checkpoint),
            "taps": request["taps"],
            "steps": request["steps"],
            "structure": structure(recorder.single.model),
            "reference_batch": batch_defect(recorder.single, [path for _, path in request["audio"]]),
            "environment": describe(),
        }
    )


def _transcribe(request: dict[str, Any]) -> None:
    auto = load(request["src"])
    for line in sys.stdin:
        _answer(_transcript(auto, json.loads(line)))


def _transcript(auto: Any, path: str) -> dict[str, Any]:
    import soundfile

    row: dict[str, Any] = {"path": path, "text": "", "duration_s": 0.0, "error": None}
    try:
        with contextlib.redirect_stdout(sys.stderr):
            results = auto.generate(input=path)
        row["text"] = results[0].get("text", "") if results else ""
        with contextlib.suppress(soundfile.LibsndfileError):
            row["duration_s"] = soundfile.info(path).duration
    except Exception as error:
        row["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
    return row


def _answer(value: Any) -> None:
    print(f"{MARK}{json.dumps(value)}", flush=True)


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
