"""FunASR's whole pipeline on made meetings: every field of AutoModel's results, ours against it. Bar: same or explained.

    python benchmarks/pipeline_identity.py [--count 20] [--seconds 75] [--recognizer bicif_real_small]
                                           [--mode punc_segment|vad_segment] [--no-speakers] [--save FILE] [--recorded FILE]

Meetings of real speakers (made_meetings.py); the trained small checkpoints. FunASR: AutoModel(model, vad_model,
punc_model, spk_model) from local folders, in a process of its own, dither 0; its k-means is given the same seed (0) as
ours, since FunASR has none. MLX: `mlx_funasr.pipeline(...).generate(...)` with `as_funasr`. Compared: text, raw_text,
timestamp, and of sentence_info text, raw_text, start, end, timestamp and spk.

Speakers that differ are explained where our clustering of FunASR's own embeddings gives FunASR's labels, and ours
differ from those embeddings by less than NEAR, relatively: then rounding, small as it is, moved an eigenvalue or a tie
(the widest two gaps are printed). `--save` writes what FunASR answered, `--recorded` reads it back.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import made_meetings
import measure
import numpy as np

CHECKPOINTS = measure.SHARED / "checkpoints"
NEAR = 1e-3  # of embeddings, relative
FIELDS = ("text", "raw_text", "timestamp")
PARTS = ("text", "raw_text", "start", "end", "timestamp", "sentence")
MODELS = {"vad_model": "fsmn_vad", "punc_model": "ct_punc_real_small", "spk_model": "campplus_real_small"}


def reference(recognizer: str, mode: str, speakers: bool) -> int:
    """Serve FunASR: the answer to a file is what `generate` returns, and the embeddings and labels of its windows."""
    import functools
    import logging

    import torch

    def made() -> Any:
        from funasr import AutoModel
        from funasr.models.campplus import cluster_backend

        torch.set_num_threads(1)
        cluster_backend.k_means = functools.partial(cluster_backend.k_means, random_state=0)
        models = {name: str(CHECKPOINTS / folder) for name, folder in MODELS.items() if speakers or name != "spk_model"}
        quiet = {"device": "cpu", "disable_update": True, "disable_pbar": True, "log_level": "ERROR", "ncpu": 1}
        auto = AutoModel(model=str(CHECKPOINTS / recognizer), spk_mode=mode, **models, **quiet)
        for kwargs in (auto.kwargs, auto.vad_kwargs):
            kwargs["frontend"].dither = 0.0
        logging.disable()
        seen: dict[str, Any] = {}
        if speakers:
            cluster = auto.cb_model.forward

            def watched(rows: Any, **known: Any) -> Any:
                labels = cluster(rows, **known)
                seen.update(embeddings=rows.numpy().tolist(), labels=np.asarray(labels).tolist())
                return labels

            auto.cb_model.forward = watched

        def answer(request: dict[str, Any]) -> dict[str, Any]:
            seen.clear()
            options = {"return_raw_text": True, "sentence_timestamp": True}
            found = auto.generate(input=request["file"], **options)
            return {"results": json.loads(json.dumps(found, default=lambda value: np.asarray(value).tolist())), **seen}

        return answer

    return measure.serve(made)


def difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """Return what differs between two results, speakers left out."""
    found = [field for field in FIELDS if theirs.get(field) != ours.get(field)]
    parts, own = theirs.get("sentence_info"), ours.get("sentence_info")
    if parts is None or own is None or len(parts) != len(own):
        return found if parts == own else [*found, "sentence_info"]
    return found + [
        f"sentence_info[{number}].{field}"
        for number, (one, two) in enumerate(zip(parts, own, strict=True))
        for field in PARTS
        if one.get(field) != two.get(field)
    ]


def speakers_of(result: Mapping[str, Any]) -> list[int | None]:
    """Return the speakers of a result's sentences."""
    return [part.get("spk") for part in result.get("sentence_info") or ()]


def why(reply: Mapping[str, Any], ours: np.ndarray) -> tuple[str, bool]:
    """Return in words how far embeddings are apart, and whether that explains other labels."""
    from mlx_model.decoding import clustering

    theirs = np.array(reply["embeddings"], np.float32)
    if theirs.shape != ours.shape:
        return f"{theirs.shape} embeddings against {ours.shape}", False
    far = float(np.linalg.norm(theirs - ours) / np.linalg.norm(theirs))
    again = clustering.cluster(theirs, as_funasr=True, seed=0).tolist() == reply["labels"]
    values = np.linalg.eigvalsh(clustering.laplacian(clustering.pruned(clustering.similarities(theirs))))
    gaps = np.sort(clustering.gaps(values))[::-1]
    words = f"embeddings {far:.1e} apart, FunASR's labels from FunASR's embeddings: {again}, gaps {gaps[0]:.4f} {gaps[1]:.4f}"
    return words, far < NEAR and again


class Ours:
    """The pipeline in MLX, of conversions made for this run."""

    def __init__(self, folder: Path, recognizer: str, speakers: bool):
        import convert
        from mlx_model.loading import pipeline
        from mlx_model.pipelines import voices

        names = {"model": recognizer, "vad": MODELS["vad_model"], "punc": MODELS["punc_model"]}
        names |= {"speakers": MODELS["spk_model"]} if speakers else {}
        for role, name in names.items():
            convert.convert(CHECKPOINTS / name, folder / role)
        self.pipe = pipeline(folder / "model", **{role: folder / role for role in names if role != "model"})
        self.embeddings = np.zeros((0, 0), np.float32)
        cluster = voices.cluster

        def watched(rows: np.ndarray, *given: Any, **known: Any) -> Any:
            self.embeddings = rows
            return cluster(rows, *given, **known)

        voices.cluster = watched

    def __call__(self, path: Path, mode: str) -> list[dict[str, Any]]:
        return self.pipe.generate(
            path, as_funasr=True, return_raw_text=True, sentence_timestamp=True, spk_mode=mode
        )  # fmt: skip


def main() -> int:
    """Compare all, or be FunASR's side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=75.0)
    parser.add_argument("--recognizer", default="bicif_real_small")
    parser.add_argument("--mode", choices=["punc_segment", "vad_segment"], default="punc_segment")
    parser.add_argument("--no-speakers", action="store_true")
    parser.add_argument("--save", type=Path, help="write FunASR's answers")
    parser.add_argument("--recorded", type=Path, help="read them")
    parser.add_argument("--serve", choices=["funasr"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        return reference(given.recognizer, given.mode, not given.no_speakers)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [
            made_meetings.write(made_meetings.meeting(number, given.seconds, overlap=number % 2 == 1), path)
            for number in range(given.count)
            for path in [folder / f"meeting{number:02}.wav"]
        ]
        theirs = json.loads(given.recorded.read_text("utf-8")) if given.recorded else _asked(given, files)
        if given.save:
            given.save.write_text(json.dumps(theirs, ensure_ascii=False), "utf-8")
        return _compare(given, files, theirs, Ours(folder, given.recognizer, not given.no_speakers))


def _asked(given: argparse.Namespace, files: list[Path]) -> dict[str, Any]:
    arguments = ["--recognizer", given.recognizer, "--mode", given.mode, *(["--no-speakers"] * given.no_speakers)]
    with measure.Side("funasr", __file__, arguments, 1) as side:
        return {file.stem: side.ask(file=str(file)) for file in files}


def _compare(given: argparse.Namespace, files: list[Path], theirs: dict[str, Any], ours: Ours) -> int:
    same, sentences, left = 0, 0, list[str]()
    for file in files:
        start = time.perf_counter()
        found, reply = ours(file, given.mode), theirs[file.stem]
        if len(found) != len(reply["results"]):
            left.append(f"{file.stem}: {len(reply['results'])} results in FunASR, {len(found)} here: NOT EXPLAINED")
            continue
        wrong, said = [], ""
        for one, two in zip(reply["results"], found, strict=True):
            wrong += difference(one, two)
            sentences += len(one.get("sentence_info") or ())
            if not wrong and speakers_of(one) != speakers_of(two):
                words, explained = why(reply, ours.embeddings)
                said = f"speakers: {words}: {'explained' if explained else 'NOT EXPLAINED'}"
        if wrong:
            said = f"{', '.join(wrong[:4])}: NOT EXPLAINED"
        same += not said
        left += [f"{file.stem}: {said}"] if said else []
        print(f"| {file.stem} | {said or 'the same'} | {time.perf_counter() - start:.1f} s |", flush=True)
    unexplained = [line for line in left if line.endswith("NOT EXPLAINED")]
    print("\n".join(left))
    print(f"{same} of {len(files)} meetings the same in every field, {sentences} sentences; {len(left)} differ, "
          f"{len(unexplained)} of them not explained")  # fmt: skip
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
