"""Networks at full size on a CPU, features to best tokens: our engine's bodies and precisions beside FunASR's torch.

    python benchmarks/cpu_networks.py [--families sense_voice paraformer bicif_paraformer contextual_paraformer
        monotonic_aligner] [--sides auto funasr] [--seconds 10 30] [--batches 1 4] [--rounds 7] [--models DIR]

A side is a body of the CPU engine (`auto`, or a value of MLX_FUNASR_CPU_ENGINE), with `:float16` or `:bfloat16` behind
it where weights are to be of 16 bits; `funasr`; or the path of another checkout of this layout. Each is a process of
its own with the same random weights (FunASR's class under seed 0, released sizes) and features; they run in turns, in
an order that alternates, with a rest before each, since the last one's threads may still spin. A row gives a side's
median and least, the median of the rounds' ratios to the last side, and that of the processors' time. Threads:
OMP_NUM_THREADS (2 where it is not set). FunASR runs what its `inference` does: log_softmax and argmax. A
BiCifParaformer computes the second head's peaks, too; a ContextualParaformer listens for 50 words, which FunASR encodes
in every call and we once; fa-zh (a MonotonicAligner, 30 blocks of 320) is asked for four tokens a second, and its peaks
are compared in place of tokens. Bar: 0.8 of FunASR's time; printed, not decided.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import full_size_checkpoint
import numpy as np

HERE = Path(__file__).resolve().parent.parent
FRAME_S, REST_S = 0.06, 0.06
ENCODER = {"output_size": 512, "attention_heads": 4, "linear_units": 2048, "num_blocks": 50, "kernel_size": 11}
FRONTEND = {"lfr_m": 7, "lfr_n": 6, "cmvn": False}
OURS: dict[str, dict[str, Any]] = {
    "sense_voice": {
        "model_type": "sense_voice", "vocab_size": 25055, "frontend": FRONTEND, "encoder": {**ENCODER, "tp_blocks": 20},
        "tokenizer": {"kind": "SentencepiecesTokenizer"},
    },
    "paraformer": {
        "model_type": "paraformer", "vocab_size": 8404, "frontend": FRONTEND, "encoder": ENCODER, "tokenizer": {},
        "predictor_class": "CifPredictorV2",
        "predictor": {"idim": 512, "l_order": 1, "r_order": 1, "tail_threshold": 0.45},
        "decoder": {**ENCODER, "num_blocks": 16, "att_layer_num": 16},
    },
}  # fmt: skip
del OURS["paraformer"]["decoder"]["output_size"]
V3 = {
    "idim": 512, "threshold": 1.0, "l_order": 1, "r_order": 1, "tail_threshold": 0.45, "smooth_factor2": 0.25,
    "noise_threshold2": 0.01, "upsample_times": 3, "use_cif1_cnn": False, "upsample_type": "cnn_blstm",
}  # fmt: skip
BASE: dict[str, Any] = full_size_checkpoint.CONFIG
CONVERTED: dict[str, dict[str, Any]] = {  # FunASR's own configurations: these are built, and converted
    "bicif_paraformer": BASE | {"model": "BiCifParaformer", "predictor": "CifPredictorV3", "predictor_conf": V3},
    "contextual_paraformer": BASE | {
        "model": "ContextualParaformer", "decoder": "ContextualParaformerDecoder",
        "model_conf": BASE["model_conf"] | {"inner_dim": 512},
    },
    "monotonic_aligner": {key: value for key, value in BASE.items() if not key.startswith("decoder")} | {
        "model": "MonotonicAligner", "model_conf": {"length_normalized_loss": False, "predictor_bias": 1},
        "encoder_conf": BASE["encoder_conf"] | {"output_size": 320, "linear_units": 1280, "num_blocks": 30},
        "predictor": "CifPredictorV3", "predictor_conf": V3 | {"idim": 320},
    },
}  # fmt: skip
WORDS = ["".join(chr(0x4E00 + 7 * word + n) for n in range(2 + word % 3)) for word in range(50)]
REST_OF_THEIRS = {"input_layer": "pe", "pos_enc_class": "SinusoidalPositionEncoder", "normalize_before": True,
                  "sanm_shfit": 0, "selfattention_layer_type": "sanm"}  # fmt: skip


def theirs(family: str) -> Any:
    """Return FunASR's own model of this family, weights as torch initialises them under seed 0."""
    if family in CONVERTED:
        return full_size_checkpoint.network(CONVERTED[family]).eval()
    import torch
    from funasr.models.paraformer import cif_predictor, decoder  # noqa: F401  registers the classes
    from funasr.models.paraformer.model import Paraformer
    from funasr.models.sanm import encoder  # noqa: F401
    from funasr.models.sense_voice.model import SenseVoiceSmall

    ours = OURS[family]
    common = {"vocab_size": ours["vocab_size"], "input_size": 560, "encoder_conf": ours["encoder"] | REST_OF_THEIRS}
    torch.manual_seed(0)
    if family == "sense_voice":
        return SenseVoiceSmall(encoder="SenseVoiceEncoderSmall", length_normalized_loss=True, **common).eval()
    return Paraformer(
        encoder="SANMEncoder", decoder="ParaformerSANMDecoder", decoder_conf=ours["decoder"] | {"sanm_shfit": 0},
        predictor=ours["predictor_class"], predictor_conf=ours["predictor"], predictor_bias=1, ctc_weight=0.0, **common,
    ).eval()  # fmt: skip


def make(family: str, folder: Path, dtypes: set[str]) -> None:
    """Write a converted directory of each precision, and FunASR's state; in a process of its own."""
    import torch
    from safetensors.torch import save_file

    if family in CONVERTED:
        convert(family, folder, dtypes)
        return
    state = theirs(family).state_dict()
    torch.save(state, folder / f"{family}.pt")
    for dtype in dtypes:
        target = folder / f"{family}-{dtype}"
        target.mkdir(exist_ok=True)
        weights = {
            name: (value.transpose(1, 2) if value.ndim == 3 else value).contiguous().to(getattr(torch, dtype))
            for name, value in state.items()
            if not name.startswith("decoder.embed.")  # a table of tokens for training alone
        }
        config, words = OURS[family] | {"dtype": dtype}, OURS[family]["vocab_size"]
        tokens = ["<blank>", "<s>", "</s>", *(chr(0x4E00 + n) for n in range(words - 4)), "<unk>"]
        (target / "config.json").write_text(json.dumps(config), "utf-8")
        (target / "tokens.json").write_text(json.dumps(tokens), "utf-8")
        save_file(weights, target / "model.safetensors")


def convert(family: str, folder: Path, dtypes: set[str]) -> None:
    """Write the same of a family that is converted, as a user converts: by the command line."""
    source = full_size_checkpoint.build(folder / f"{family}-source", CONVERTED[family])
    (folder / f"{family}.pt").unlink(missing_ok=True)
    (folder / f"{family}.pt").hardlink_to(source / "model.pt")
    for dtype in dtypes:
        target = str(folder / f"{family}-{dtype}")
        command = [sys.executable, "-m", "mlx_funasr", "convert", str(source), target, "--dtype", dtype, "--overwrite"]
        subprocess.run(command, check=True, cwd=HERE)


Ids = list[Any]


def within(rows: Ids, counts: list[int] | None) -> Ids:
    """Return each recording's tokens without those of the padding, which mean nothing; None: there is none."""
    return rows if counts is None else [row[:count] for row, count in zip(rows, counts, strict=True)]


def peaks_in(us_peaks: Any) -> Ids:
    """Return where each recording's tokens are: a MonotonicAligner's decision."""
    return [np.flatnonzero(row > 1 - 1e-4).tolist() for row in np.array(us_peaks)]


def ours_runs(path: Path) -> tuple[Callable[[np.ndarray], Ids], Callable[[], str]]:
    """Return what computes a batch here, and what says by which engine."""
    from mlx_model.loading import load
    from mlx_model.machine.blas import mx

    model = load(path)

    def recognise(feats: mx.array, sizes: mx.array) -> Ids:
        best = model.best(model(feats, sizes, asked))
        counts = getattr(best, "token_num", None)
        return within(best.tokens.tolist(), None if counts is None else counts.tolist())

    def peaks(feats: mx.array, sizes: mx.array) -> Ids:
        return peaks_in(model(feats, sizes, sizes // 4 + 1).heads.us_peaks)

    asked = model.Options(hotwords=WORDS) if model.config.model_type == "contextual_paraformer" else None
    network = peaks if model.config.model_type == "monotonic_aligner" else recognise
    return lambda feats: network(mx.array(feats), mx.array([feats.shape[1]] * len(feats))), lambda: model.engine


def funasr_runs(path: Path) -> tuple[Callable[[np.ndarray], Ids], Callable[[], str]]:
    """Return the same of FunASR's modules."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    model = theirs(path.stem)
    model.load_state_dict(torch.load(path))

    def sense_voice(feats: Any, sizes: Any) -> Any:
        queries = model.embed(torch.tensor([[0, 1, 2, 15]])).repeat(len(feats), 1, 1)  # auto, emotion, event, no ITN
        encoder_out, _ = model.encoder(torch.cat([queries, feats], dim=1), sizes + 4)
        return within(model.ctc.log_softmax(encoder_out).argmax(-1).tolist(), None)

    def heard(feats: Any, sizes: Any) -> Any:
        encoder_out, lengths, *_ = model.encoder(feats, sizes)
        embeds, counts, *_ = model.calc_predictor(encoder_out, lengths)
        return encoder_out, lengths, embeds, counts.round().long()

    def spelled(found: Any, **given: Any) -> Ids:
        scores = model.cal_decoder_with_predictor(*found, **given)[0]
        return within(scores.argmax(-1).tolist(), found[3].tolist())

    def paraformer(feats: Any, sizes: Any) -> Any:
        return spelled(heard(feats, sizes))

    def bicif(feats: Any, sizes: Any) -> Any:
        found = heard(feats, sizes)
        model.calc_predictor_timestamp(*found[:2], found[3])
        return spelled(found)

    def contextual(feats: Any, sizes: Any) -> Any:
        listed = [[known[sign] for sign in word] for word in WORDS] + [[model.sos]]
        return spelled(heard(feats, sizes), hw_list=listed)

    def aligner(feats: Any, sizes: Any) -> Any:
        encoder_out, lengths, *_ = model.encoder(feats, sizes)
        return peaks_in(model.calc_predictor_timestamp(encoder_out, lengths, token_num=sizes // 4 + 1)[3])

    known = {token: number for number, token in enumerate(full_size_checkpoint.vocabulary())}
    network: Callable[[Any, Any], Any] = {
        "sense_voice": sense_voice, "paraformer": paraformer, "bicif_paraformer": bicif,
        "contextual_paraformer": contextual, "monotonic_aligner": aligner,
    }[path.stem]  # fmt: skip

    def run(feats: np.ndarray) -> Ids:
        with torch.inference_mode():
            return network(torch.from_numpy(feats), torch.full((len(feats),), feats.shape[1]))

    return run, lambda: f"FunASR, torch {torch.__version__}, {torch.get_num_threads()} threads"


def serve(side: str, path: Path) -> None:
    """Answer requests, one JSON document a line: {seconds, batch} -> seconds it took, engine and ids."""
    run, words = funasr_runs(path) if side == "funasr" else ours_runs(path)
    for line in sys.stdin:
        asked = json.loads(line)
        shape = (asked["batch"], round(asked["seconds"] / FRAME_S), 560)
        feats = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        time.sleep(REST_S)
        start, cpu = time.perf_counter(), time.process_time()
        ids = run(feats)
        taken, cpu = time.perf_counter() - start, time.process_time() - cpu
        print(json.dumps({"s": taken, "cpu_s": cpu, "engine": words(), "ids": ids}), file=ANSWERS, flush=True)


class Side:
    """One side's process."""

    def __init__(self, name: str, family: str, folder: Path):
        body, _, dtype = name.partition(":")
        path = folder / (f"{family}.pt" if name == "funasr" else f"{family}-{dtype or 'float32'}")
        tree = Path(body).resolve() if Path(body).is_dir() and "/" in body else HERE
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tree), os.environ.get("PYTHONPATH", "")])}
        if body not in ("auto", "funasr") and tree == HERE:
            environment["MLX_FUNASR_CPU_ENGINE"] = body
        pipe = subprocess.PIPE
        command = [sys.executable, __file__, "--serve", name, str(path)]
        self.name = name
        self.child = subprocess.Popen(command, cwd=tree, env=environment, stdin=pipe, stdout=pipe, text=True)

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return the answer to one request."""
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        print(json.dumps(request), file=self.child.stdin, flush=True)
        answer = self.child.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.name}: ended; what it said stands above")
        return json.loads(answer)

    def close(self) -> None:
        """Let the process end."""
        self.child.communicate()


def agreement(ids: Ids, other: Ids) -> str:
    """Return how many of a batch's tokens differ, in words."""
    pairs = [(a, b) for row, theirs in zip(ids, other, strict=True) for a, b in zip(row, theirs, strict=False)]
    lengths = [len(row) for row in ids] == [len(row) for row in other]
    return f"{sum(a != b for a, b in pairs)} of {len(pairs)} ids differ{'' if lengths else ', and LENGTHS DO'}"


def compare(sides: dict[str, Side], rounds: int, family: str, **case: Any) -> None:
    """Print a row for each side."""
    first = {name: side.ask(**case) for name, side in sides.items()}
    found: list[dict[str, dict[str, Any]]] = []
    for number in range(rounds):
        order = list(sides)[:: -1 if number % 2 else 1]
        found.append({name: sides[name].ask(**case) for name in order})
    last = list(sides)[-1]
    for name in sides:
        wall = statistics.median(each[name]["s"] for each in found)
        best = min(each[name]["s"] for each in found)
        ratios = [statistics.median(each[name][key] / each[last][key] for each in found) for key in ("s", "cpu_s")]
        words = f"{family}, {case['seconds']:g} s x {case['batch']}, {name} ({first[name]['engine']})"
        same = agreement(first[name]["ids"], first[last]["ids"])
        times = f"{1000 * wall:.0f} | {1000 * best:.0f} | {ratios[0]:.3f} | {ratios[1]:.3f}"
        print(f"| {words} | {times} | {same} |", flush=True)


def measure(family: str, folder: Path, options: argparse.Namespace) -> None:
    """Print a family's rows; its models are written where they are not there."""
    dtypes = {side.partition(":")[2] or "float32" for side in options.sides}
    if not all((folder / f"{family}-{dtype}" / "model.safetensors").is_file() for dtype in dtypes):
        command = [sys.executable, __file__, "--make", family, str(folder), *dtypes]
        subprocess.run(command, check=True, stdout=sys.stderr)
    sides = {name: Side(name, family, folder) for name in options.sides}
    for seconds in options.seconds:
        for batch in options.batches:
            compare(sides, options.rounds, family, seconds=seconds, batch=batch)
    for side in sides.values():
        side.close()


def main() -> int:
    """Measure and print the rows, or be one of the sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=[*OURS, *CONVERTED], choices=[*OURS, *CONVERTED])
    parser.add_argument("--sides", nargs="+", default=["auto", "funasr"])
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0, 30.0])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--models", type=Path, help="where models are written, and kept for another run")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--make", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    if options.serve:
        serve(options.serve[0], Path(options.serve[1]))
        return 0
    if options.make:
        make(options.make[0], Path(options.make[1]), set(options.make[2:]))
        return 0
    with tempfile.TemporaryDirectory(prefix="mlx-funasr-bench-") as temporary:
        folder = options.models or Path(temporary)
        folder.mkdir(exist_ok=True)
        print("| case | median, ms | least, ms | ratio to the last | processors' time | |")
        print("|---|---|---|---|---|---|", flush=True)
        for family in options.families:
            measure(family, folder, options)
    return 0


if __name__ == "__main__":
    ANSWERS = os.fdopen(os.dup(1), "w")  # what FunASR prints goes elsewhere
    if "--serve" in sys.argv:
        os.dup2(2, 1)
    sys.exit(main())
