"""FunASR held against itself: its structure, its four CIF code paths, its results alone and in a batch.

Runs in reference.py's process; imports torch and funasr.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from parity.families.paraformer.recorder import exact_cif, features
from parity.taps.trace import Recorded

BATCHED_WITH_LONGEST = 4  # utterances on which FunASR's batch defect is shown


def structure(model: Any) -> dict[str, dict[str, Any]]:
    """Return what distances could miss, {fact: {module: value}}; the outcomes read the same off the candidate."""
    facts: dict[str, dict[str, Any]] = {"LayerNorm eps": {}, "attention heads": {}, "FSMN padding": {}}
    for name, module in model.named_modules():
        if hasattr(module, "eps") and hasattr(module, "normalized_shape"):
            facts["LayerNorm eps"][name] = module.eps
        if hasattr(module, "h") and hasattr(module, "d_k"):
            facts["attention heads"][name] = module.h
        if hasattr(module, "pad_fn"):
            facts["FSMN padding"][name] = list(module.pad_fn.padding)
    thresholds = ("threshold", "tail_threshold", "smooth_factor", "noise_threshold")
    facts["predictor"] = {name: getattr(model.predictor, name) for name in thresholds}
    return facts


def cif_paths(auto: Any, recorded: Recorded) -> list[dict[str, Any]]:
    """Return how FunASR's CIF code paths differ from its own loop in float64, on this utterance's float32 alphas.

    Every path is given the same hidden states and alphas (the tail frame included).
    """
    import torch
    from funasr.models.paraformer import cif_predictor as paths

    hidden = torch.from_numpy(recorded.own["encoder.after_norm"][1])
    alphas = torch.from_numpy(recorded.own["predictor.alphas"][1])
    hidden = torch.nn.functional.pad(hidden, (0, 0, 0, alphas.shape[1] - hidden.shape[1]))
    with exact_cif(), torch.inference_mode():
        exact, fires = paths.cif(hidden.double(), alphas.double(), 1.0)
    exact, fired = exact[0, : int((fires >= 1.0).sum())].numpy(), (fires >= 1.0).numpy()
    rows = []
    for name, function in (
        ("vectorised", paths.cif_v1), ("loop", paths.cif),
        ("export", paths.cif_v1_export), ("export loop", paths.cif_export),
    ):  # fmt: skip
        row: dict[str, Any] = {"path": name, "tokens": None, "firings_differ": 0, "max_abs": None, "note": ""}
        try:
            with torch.inference_mode():
                embeds, peaks = function(hidden.clone(), alphas.clone(), 1.0)
        except Exception as error:
            rows.append({**row, "note": f"raises {type(error).__name__}: {str(error).strip().splitlines()[-1][:120]}"})
            continue
        both = min(int((peaks >= 1.0).sum()), len(exact))
        row["tokens"], row["firings_differ"] = both, int(((peaks >= 1.0).numpy() != fired).sum())
        row["max_abs"] = float(np.abs(embeds[0, :both].numpy() - exact[:both]).max(initial=0.0))
        if embeds.shape[1] != len(exact):
            row["note"] = f"returns {embeds.shape[1]} rows for {len(exact)} firings"
        rows.append(row)
    return rows


def _batched(auto: Any, feats: Sequence[Any]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (alphas, logits) of each utterance of one FunASR batch, cut to its own tokens."""
    import torch

    lengths = torch.tensor([item.shape[1] for item in feats])
    padded = torch.nn.utils.rnn.pad_sequence([item[0] for item in feats], batch_first=True)
    with torch.inference_mode():
        encoded, lens = auto.model.encode(padded, lengths)
        embeds, counts, alphas, _ = auto.model.calc_predictor(encoded, lens)
        counts = counts.round().long()
        logits, _ = auto.model.cal_decoder_with_predictor(encoded, lens, embeds, counts)
    return [(alphas[i].numpy(), logits[i, : int(counts[i])].numpy()) for i in range(len(feats))]


def batch_defect(auto: Any, paths: Sequence[str]) -> list[dict[str, Any]]:
    """Return how FunASR's own result for an utterance changes when a longer one stands beside it in the batch."""
    feats = {path: features(auto, path)[1] for path in paths[: BATCHED_WITH_LONGEST + 1]}
    longest = max(feats, key=lambda path: feats[path].shape[1])
    rows = []
    for path, own in feats.items():
        if own.shape[1] == feats[longest].shape[1]:
            continue
        (alphas, alone), ((beside, together), _) = _batched(auto, [own])[0], _batched(auto, [own, feats[longest]])
        both = min(len(alone), len(together))
        changed = int((alone[:both].argmax(-1) != together[:both].argmax(-1)).sum()) + abs(len(alone) - len(together))
        rows.append(
            {
                "path": path,
                "tokens": len(alone),
                "tokens_differ": changed,
                "max_abs": float(np.abs(alone[:both] - together[:both]).max(initial=0.0)),
                "alphas_max_abs": float(np.abs(alphas[: own.shape[1]] - beside[: own.shape[1]]).max()),
            }
        )
    return rows
