"""FunASR's own VAD on lists of cases, in a process of its own: `python vad_reference.py REQUEST.json`.

Never imported by the side under test: `ask` starts it and reads what it wrote. A case is a dict:

    {"audio": name in the request's .npz, "options": {...}, "opts": {VADXOptions attribute: value},
     "chunk_ms": int | None, "feed": samples per call, or where each call's samples end}

chunk_ms None is FunASR's way with a whole recording. With "scores": name, the network and the front end are left out:
`forward` of FunASR's model runs on these silence probabilities, one per frame, in pieces of "pieces" frames, and
"audio" gives the level of each frame. With "asr": directory, it is AutoModel(model=asr, vad_model=..., **made_with),
which gives a text (1.4.16 reads merge_length_s there only, not where generate is told it).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent


def ask(models: dict[Path, list[dict[str, Any]]], arrays: dict[str, np.ndarray]) -> list[list[Any]]:
    """Return, model by model, FunASR's answer to every case: what each call gave, in order, or {"error": text}."""
    from tests import forked

    with tempfile.TemporaryDirectory() as folder:
        request = Path(folder) / "request.json"
        np.savez(Path(folder) / "arrays.npz", **arrays)  # pyright: ignore[reportArgumentType]
        request.write_text(json.dumps([[str(model), cases] for model, cases in models.items()]), "utf-8")
        command = [forked.python("funasr"), __file__, str(request)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads((Path(folder) / "answer.json").read_text("utf-8"))


def main(request_path: str) -> None:
    import torch

    arrays = np.load(Path(request_path).with_name("arrays.npz"))
    with torch.no_grad():
        requests = json.loads(Path(request_path).read_text("utf-8"))
        answers = [_answers(model, cases, arrays) for model, cases in requests]
    Path(request_path).with_name("answer.json").write_text(json.dumps(answers), "utf-8")


def _answers(directory: str, cases: list[dict[str, Any]], arrays: Any) -> list[Any]:
    import funasr

    fixed: dict[str, Any] = {
        "device": "cpu",
        "disable_update": True,
        "disable_pbar": True,
        "log_level": "ERROR",
        "ncpu": 1,
    }
    if "asr" in cases[0]:
        auto = funasr.AutoModel(
            model=cases[0]["asr"],
            vad_model=directory,
            frontend_conf={"dither": 0.0},
            vad_kwargs={},
            **cases[0]["made_with"],
            **fixed,
        )
        return [_text(auto.generate(input=arrays[case["audio"]], **case["options"])) for case in cases]
    auto = funasr.AutoModel(model=directory, **fixed)
    healthy, encoder = dict(vars(auto.model.vad_opts)), auto.model.encoder
    answers: list[Any] = []
    for case in cases:
        vars(auto.model.vad_opts).update(healthy | case.get("opts", {}))
        auto.model.encoder = encoder
        try:
            answers.append((_on_scores if "scores" in case else _on_audio)(auto, case, arrays))
        except (RuntimeError, ValueError, IndexError, AssertionError, ZeroDivisionError) as error:
            answers.append({"error": f"{type(error).__name__}: {error}"})
    return answers


def _text(results: list[dict[str, Any]]) -> str:
    """Nothing said: AutoModel gives no result at all, or an empty text."""
    return results[0]["text"] if results else ""


def _on_audio(auto: Any, case: dict[str, Any], arrays: Any) -> list[Any]:
    """The model's own `inference`: AutoModel around it divides by the duration of a call's frames, which may be 0."""
    audio = arrays[case["audio"]]
    given = {**auto.kwargs, **case["options"]}

    def call(samples: np.ndarray, **more: Any) -> Any:
        return auto.model.inference([samples], key=["key"], **{**given, **more})[0][0]["value"]

    if case.get("chunk_ms") is None:
        return [call(audio)]
    feed, cache = case["feed"], {}
    stops = [*range(feed, len(audio), feed), len(audio)] if isinstance(feed, int) else feed
    return [
        call(audio[start:stop], cache=cache, is_final=stop == stops[-1], chunk_size=case["chunk_ms"])
        for start, stop in zip([0, *stops], stops, strict=False)
    ]


def _on_scores(auto: Any, case: dict[str, Any], arrays: Any) -> list[Any]:
    import torch

    model, silence, audio = auto.model, arrays[case["scores"]], arrays[case["audio"]]
    scores = torch.from_numpy(np.stack([silence, 1 - silence], axis=1)[None].astype(np.float32))  # (1, T, 2)
    cache: dict[str, Any] = model.init_cache({}, **case.get("options", {}))
    found, first = [], 0
    for number, count in enumerate(case["pieces"]):
        piece = scores[:, first : first + count]
        del model.encoder
        model.encoder = _Given(piece)
        waveform = torch.from_numpy(audio[first * 160 : (first + count - 1) * 160 + 400])[None]
        answer = model.forward(
            feats=piece, waveform=waveform, cache=cache, is_final=number == len(case["pieces"]) - 1,
            is_streaming_input=case["live"],
        )  # fmt: skip
        found.append(answer[0] if answer else [])
        first += count
    return found


class _Given:
    """In the encoder's place: gives what it was made with."""

    def __init__(self, scores: Any):
        self.scores = scores

    def __call__(self, feats: Any, cache: Any = None) -> Any:
        return self.scores


if __name__ == "__main__":
    main(sys.argv[1])
