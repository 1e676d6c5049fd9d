"""The reference: the real FunASR, loaded, proved equal to its checkpoint, and run one utterance at a time.

Only this file and the families' own reference.py use funasr, in a process of their own (child.py says why). `record`
and `transcribe` start it and read what it wrote. Must not import mlx.

The truth is the same FunASR in float64. Where candidates of a half precision ask, it is run in that as well
(halves.py). What is recorded of a family, and how it is run, is said by the `Reference` of families/NAME/reference.py,
a subclass of the one below.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mlx_model.errors import DependencyError, MlxFunasrError, UsageError
from mlx_model.families import FAMILIES, module_of
from mlx_model.files.scratch import scratch
from parity import facts
from parity.sides import guard
from parity.sides.child import MARK, Progress, ask_reference, stream_reference
from parity.sides.halves import Halves, computing
from parity.sides.hotwords import of_funasr
from parity.sides.proof import prove, state_of
from parity.taps.packing import Pair
from parity.taps.takes import RECORDINGS
from parity.taps.tap import ARGS
from parity.taps.tap import record as tapped
from parity.taps.tapset import TapSet, load_tapset
from parity.taps.trace import Recorded, Trace

HALVES = ("float16", "bfloat16")
INSTALL = "the FunASR reference needs torch and funasr: pip install 'mlx-funasr[reference]'"


# ---- the caller's side


def record(
    src: str | Path,
    audio: Sequence[tuple[str, str | Path]],
    trace: Path,
    *,
    takes: str = RECORDINGS,
    taps: Sequence[str] = (),
    steps: bool = True,
    halves: Sequence[str] = (),
    named: str | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Trace:
    """Run FunASR over the audio in float32 and float64 and return the trace written to `trace`, waveforms included.

    Args:
        src: FunASR model directory, model.pt beside its config, or hub id.
        audio: (utt_id, path) pairs; (utt_id, text) where texts are what is given.
        trace: directory for trace.json and the arrays.
        takes: which of the two (RECORDINGS, TEXTS).
        taps: patterns of modules to keep; all of the tap set where empty.
        steps: also what happens inside attention, feed-forward and predictor (a trace four times as large).
        halves: precisions of HALVES in which it is run as well: the floor of candidates of that precision.
        named: what the user calls the source, where `src` is a directory made of it.
        options: of the family, as hotwords="魔搭 通义"; stored with the trace, the candidate is given the same.
        progress: called with 1.0 for every utterance done.

    Raises:
        UsageError, ConfigError: `src` is no source, or not one to give to FunASR (guard.py).
        DependencyError: torch or funasr is not installed.
        CheckpointError: the loaded model is not the checkpoint.
        UsageError: a pattern fits no tap, a precision is none of HALVES, or the model is of a family that cannot be
            compared.
    """
    guard.check(str(src))
    if unknown := [each for each in halves if each not in HALVES]:
        raise UsageError(f"precision {unknown[0]!r}: FunASR can also be recorded in {' and '.join(HALVES)}")
    request = {"task": "record", "src": str(src), "named": named or str(src), "taps": list(taps), "steps": steps}
    request |= {"halves": list(dict.fromkeys(halves)), "options": dict(options or {}), "takes": takes}
    ask_reference({**request, "audio": [[u, str(p)] for u, p in audio], "out": str(trace)}, progress)
    return Trace.open(trace)


def transcribe(
    src: str | Path, batches: Iterable[Sequence[str | Path]], options: Mapping[str, Any] | None = None
) -> Iterator[list[dict[str, Any]]]:
    """Yield FunASR's own text of each batch's files: `{path, text, duration_s, error}`, in order, dither 0.

    FunASR decodes them one at a time, with AutoModel.generate on the file itself, so decoding and resampling are its
    own too. One process serves all batches; it starts with the first. `options` are `generate`'s, as language="zh".
    """
    guard.check(str(src))
    request = {"task": "transcribe", "src": str(src), "options": dict(options or {})}
    yield from stream_reference(request, ([str(path) for path in batch] for batch in batches))


# ---- the child's side: everything below runs beside torch and funasr


def load(src: str, dtype: str = "float32", device: str = "cpu") -> Any:
    """Return FunASR's AutoModel for `src` on torch's `device`: eval mode, dither 0, proved equal to its checkpoint.

    Before FunASR sees it, the source is checked (guard.py) and its checkpoint read without executing anything.

    Raises:
        ConfigError: the configuration makes FunASR run code.
        DependencyError: torch or funasr is missing.
        CheckpointError: a checkpoint that is none, or that wants to run code; see also `prove`.
    """
    path = guard.check(src)
    try:
        import funasr
        import torch
    except ImportError as error:
        raise DependencyError(f"{INSTALL} ({error})") from error
    if path is None:
        path = guard.check(_downloaded(src)) or Path(src)
    checkpoint = guard.weights(path)
    state_of(checkpoint)
    directory = path.parent if path.is_file() else path
    options: dict[str, Any] = {"model": str(directory.absolute()), "init_param": str(checkpoint.absolute())}
    options |= {"device": device, "disable_update": True, "disable_pbar": True, "trust_remote_code": False}
    options["output_dir"] = None  # a trainer's config.yaml names one; FunASR would write its results there
    with contextlib.redirect_stdout(sys.stderr):
        auto = funasr.AutoModel(**options, log_level="ERROR", frontend_conf={"dither": 0.0}, ncpu=_threads())
    prove(auto.model, str(auto.kwargs["init_param"]))
    auto.model.eval().to(getattr(torch, dtype))
    return auto


def _downloaded(name: str) -> str:
    """Return the directory of a hub id or a short name, fetched as FunASR fetches it."""
    from funasr.download import download_model_from_hub as hub

    name, _, revision = name.partition("@")
    with contextlib.redirect_stdout(sys.stderr):
        if name.startswith("hf:"):
            from huggingface_hub import snapshot_download

            known = hub.name_maps_hf.get(name[3:], name[3:])
            return snapshot_download(known, revision=revision or None)
        name = name.removeprefix("ms:")
        return hub.get_or_download_model_dir(hub.name_maps_ms.get(name, name), revision or "master")


def _threads() -> int:
    """Return how many threads torch is to use: FunASR sets them itself, whatever the environment says."""
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


class Reference(ABC):
    """One FunASR model in its precisions, and what is recorded of them; `single` and `double` are AutoModels.

    `halves` are AutoModels by precision, set by who wants them. `options` are what a run is asked for, by the names in
    OPTIONS.
    """

    OPTIONS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, single: Any, double: Any, tapset: TapSet, taps: Sequence[str], steps: bool):
        self.single, self.double = single, double
        self.halves = Halves()
        names = [name for name, _ in self.single.model.named_modules()]
        self.tapset = tapset.restricted(taps, names) if taps else tapset
        self.isolated = self.tapset.isolated(names, names)
        self.probes_inside = self.tapset.introduced_probes(names, self.isolated, steps=steps)
        self.probes = list(dict.fromkeys([*self.tapset.probes(names, args=True), *tapset.always]))
        self.collecting = tapset
        self.options: dict[str, Any] = {}

    def ask(self, options: Mapping[str, Any]) -> None:
        """Take a run's options.

        Raises:
            UsageError: the family has no such option, or none that parity can give.
        """
        if unknown := sorted(options.keys() - {*self.OPTIONS}):
            raise UsageError(f"{unknown[0]}: a {type(self.single.model).__name__} has no such option in a comparison")
        self.options = dict(options)

    @abstractmethod
    def utterance(self, path: str) -> tuple[dict[str, Any], Recorded]:
        """Return the row (what TracedUtterance has: duration, text, token ids, ...) and the arrays of one file, or of
        one text, which `more` then holds as "given"."""

    def structure(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return what distances could miss, {fact: {module: value}}: the facts of those names, and the family's own."""
        return {**facts.read(names, self.single.model, reference=True), **self.more_facts()}

    def more_facts(self) -> dict[str, dict[str, Any]]:
        """Return what of the structure only this family has, {fact: {module: value}}; the candidate reads the same."""
        return {}

    def against_itself(self, audio: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """Return in what FunASR's results depend on how it is run, over all (utt_id, path): fields of InvarianceRow."""
        return []

    def half_taps(self, auto: Any, plain: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return {tap: array} of a model of half precision on one file's `plain` arrays, run as `utterance` does.

        Raises:
            NotImplementedError: the family does not say how.
        """
        raise NotImplementedError(f"{type(self).__module__} does not run it")

    def in_half(self) -> contextlib.AbstractContextManager[None]:
        """Let what FunASR cannot compute in a half precision be computed in float32 there; nothing by default."""
        return contextlib.nullcontext()

    def add_halves(self, arrays: Recorded) -> None:
        """Run every half precision on one file's features, and put what it gave beside what was recorded."""
        for name, auto in self.halves:
            with self.halves.trying(name), computing(auto), self.in_half():
                taps = self.half_taps(auto, arrays.plain)
                for tap, pair in arrays.propagated.items():
                    arrays.propagated[tap] = self.halves.beside(name, tap, pair, taps)
        self.halves.check(arrays)

    def inside(self, module: str) -> list[str]:
        """Return what is recorded of an isolated module: itself and its steps."""
        within = (f"{module}.", f"{module}@")
        return [probe for probe in self.probes_inside if probe.startswith(within) or probe == module]

    def exactly(self) -> contextlib.AbstractContextManager[None]:
        """Let the float64 model be exact where FunASR would round; nothing by default."""
        return contextlib.nullcontext()

    def introduced(self, seen: dict[str, Any]) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Pair]]:
        """Return (inputs, {tap: (float64, float32)}) of every isolated module on the truth's inputs, in float32."""
        inputs: dict[str, dict[str, np.ndarray]] = {}
        introduced: dict[str, Pair] = {}
        for module, tap in self.isolated:
            if f"{module}@{ARGS}" not in seen:
                continue  # it did not run: no token, so no decoder
            args, kwargs = seen[f"{module}@{ARGS}"]
            given = {number: args[int(number)].astype(np.float32) for number in tap.introduced if number.isdigit()}
            args = tuple(given.get(str(number), value) for number, value in enumerate(args))
            truth, single = (self._call(auto, module, tap, args, kwargs) for auto in (self.double, self.single))
            kept = [name for name in truth if not self.tapset.is_discrete(name)]
            pairs = {name: Pair.of(truth[name], single[name]) for name in kept}
            for half, auto in self.halves:
                with self.halves.trying(half), computing(auto), self.in_half():
                    found = self._call(auto, module, tap, args, kwargs)
                    pairs = {name: self.halves.beside(half, name, pair, found) for name, pair in pairs.items()}
            introduced |= pairs
            inputs[module] = given
        return inputs, introduced

    def _call(self, auto: Any, module: str, tap: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        import torch

        dtype = next(auto.model.parameters()).dtype

        def tensor(value: Any) -> Any:
            if not isinstance(value, np.ndarray):
                return value
            made = torch.from_numpy(value.copy())
            return made.to(dtype) if made.is_floating_point() else made

        inside = self.inside(module)
        exact = self.exactly() if dtype == torch.float64 else contextlib.nullcontext()
        with exact, tapped(auto.model, inside) as seen, torch.inference_mode():
            auto.model.get_submodule(module)(*map(tensor, args), **{key: tensor(v) for key, v in kwargs.items()})
        return self.tapset.collect_introduced(module, tap, seen, reference=True)


@contextlib.contextmanager
def fbank_tap() -> Iterator[list[Any]]:
    """Catch, call by call, what FunASR's front end gets from its fbank back end, which is a function, not a module."""
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

    from mlx_model.audio.files import load_audio

    frontend = auto.kwargs["frontend"]
    waveform = torch.from_numpy(load_audio(path, frontend.fs))
    with fbank_tap() as seen:
        feats, lengths = frontend(waveform[None], torch.tensor([len(waveform)]))
    taps = {"waveform": waveform.numpy(), "fbank": seen[0].numpy()[None], "feats": feats.numpy().copy()}
    return taps, feats, lengths, len(waveform) / frontend.fs


def given(auto: Any, feats: np.ndarray) -> tuple[Any, Any]:
    """Return (features, lengths) as tensors, in the precision of a model, of one utterance's (1, T, m*M)."""
    import torch

    dtype = next(auto.model.parameters()).dtype
    return torch.from_numpy(feats).to(dtype), torch.tensor([feats.shape[1]], dtype=torch.int32)


def _record(request: dict[str, Any]) -> None:
    from reports.environment import describe, file_sha256

    trace = Trace.create(Path(request["out"]))
    single = load(request["src"])
    family = _family(type(single.model).__name__, str(single.kwargs.get("model")))
    takes = family.FAMILY.takes
    if request["takes"] != takes:
        raise UsageError(f"a {type(single.model).__name__} takes {takes}, not {request['takes']}")
    reference: Reference = importlib.import_module(f"{family.__name__}.reference").Reference(
        single, load(request["src"], "float64"), load_tapset(family.FAMILY.name), request["taps"], request["steps"]
    )
    reference.halves.models |= {name: load(request["src"], name) for name in request["halves"]}
    with scratch("hotwords") as folder:
        reference.ask(of_funasr(request["options"], folder))
        for utt_id, path in request["audio"]:
            row, arrays = reference.utterance(path)
            reference.add_halves(arrays)
            trace.add({"utt_id": utt_id, "path": path if takes == RECORDINGS else "", **row}, arrays)
            _answer(1.0)
    trace.finish(
        {
            "source": request["named"],
            "family": family.FAMILY.name,
            "checkpoint_sha256": file_sha256(Path(single.kwargs["init_param"])),
            "taps": request["taps"],
            "steps": request["steps"],
            "options": request["options"],
            "structure": reference.structure(family.FAMILY.facts),
            "reference_rows": reference.against_itself(request["audio"]),
            "halves": reference.halves.found(),
            "environment": describe(),
        }
    )


def _family(funasr_class: str, registered: str = "") -> Any:
    """Return the folder of the family of one of FunASR's classes, found by name, or by the one it is registered under.

    Raises:
        UsageError: it cannot be compared.
    """
    for name, known in FAMILIES.items():
        if known in (funasr_class, registered):
            return module_of("parity.families", name)
    raise UsageError(f"FunASR's {funasr_class} cannot be compared; there are {', '.join(FAMILIES.values())}")


def _transcribe(request: dict[str, Any]) -> None:
    auto = load(request["src"])
    with scratch("hotwords") as folder:
        options = of_funasr(request["options"], folder)
        for line in sys.stdin:
            _answer(_transcript(auto, json.loads(line), options))


def _transcript(auto: Any, path: str, options: Mapping[str, Any]) -> dict[str, Any]:
    import soundfile

    row: dict[str, Any] = {"path": path, "text": "", "duration_s": 0.0, "error": None}
    try:
        with contextlib.redirect_stdout(sys.stderr):
            results = auto.generate(input=path, **options)
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
