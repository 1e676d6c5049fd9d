"""FunASR's CAM++ (and ERes2NetV2), recorded: features, every layer, embeddings, windows and who speaks in them. Torch.

A recording is embedded as a whole, with every layer watched; then it is taken for one segment of speech, and FunASR's
own windows, clustering and turns are recorded. Layouts: layout.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from unittest import mock

import numpy as np

from mlx_model.errors import UsageError
from parity.families.campplus import cases
from parity.families.campplus.layout import of_torch, seen_of
from parity.sides import reference
from parity.taps.packing import Pair
from parity.taps.tap import record as tapped
from parity.taps.trace import Recorded

MOST_WINDOWS = 80  # of a recording: a minute
DRAWS, NOISE = 3, 5.0  # so often labels are asked for again, with so many times FunASR's own error added
FRONT_END = 5e-4  # nat: how far two right front ends' features may lie apart


class Reference(reference.Reference):
    """Both precisions of one FunASR speaker model."""

    def utterance(self, path: str) -> tuple[dict[str, Any], Recorded]:
        """Return (duration, turns) and the arrays of one file.

        Raises:
            UsageError: the file is too short for FunASR to make a number of it.
        """
        from mlx_model.audio.files import load_audio

        waveform = load_audio(path, cases.RATE)
        plain, feats = features(waveform)
        single, _ = self._propagated(self.single, feats)
        truth, seen = self._propagated(self.double, feats)
        if not all(np.isfinite(value).all() for value in truth.values()):
            raise UsageError(f"{path}: too short; FunASR makes NaN of it")
        propagated = {name: Pair.of(value, single[name]) for name, value in truth.items()}
        inputs, introduced = self.introduced(seen)
        inputs = {name: {number: of_torch(value) for number, value in each.items()} for name, each in inputs.items()}
        more: dict[str, Any] = {"turns": [], "settled": True}
        if propagated[list(propagated)[-1]].shape[1] == 1:  # of level "frame" there is no embedding to cluster
            windows, plain_windows, more = self._windows(waveform)
            propagated |= windows
            plain |= plain_windows
        row = {"duration_s": len(waveform) / cases.RATE, "text": cases.shown(more["turns"]), "token_ids": []}
        arrays = Recorded(plain=plain, propagated=propagated, introduced=introduced, inputs=inputs)
        return {**row, "more": more}, arrays

    def _propagated(self, auto: Any, feats: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        import torch

        dtype = next(auto.model.parameters()).dtype
        with tapped(auto.model, self.probes) as seen, torch.inference_mode():
            auto.model(feats.to(dtype))
        return self.collecting.collect(seen_of(seen, torch=True)), seen

    def _call(self, auto: Any, module: str, tap: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        import torch

        dtype = next(auto.model.parameters()).dtype
        given = [torch.from_numpy(value.copy()).to(dtype) if isinstance(value, np.ndarray) else value for value in args]
        with tapped(auto.model, self.inside(module)) as seen, torch.inference_mode():
            auto.model.get_submodule(module)(*given)
        return self.tapset.collect_introduced(module, tap, seen_of(seen, torch=True), reference=True)

    def half_taps(self, auto: Any, plain: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return every tap of a half model on one file's features, and its embeddings of the windows."""
        import torch

        taps, _ = self._propagated(auto, torch.from_numpy(plain["feats"]))
        if "windows.feats" in plain:
            taps |= _alike(self._embedded(auto, plain["windows.feats"]))
        return taps

    def _embedded(self, auto: Any, feats: np.ndarray) -> np.ndarray:
        """Return the embedding of every window, (W, D), one by one as FunASR does on a CPU."""
        import torch

        dtype = next(auto.model.parameters()).dtype
        with torch.inference_mode():
            rows = [auto.model(torch.from_numpy(each[None].copy()).to(dtype)) for each in feats]
        return torch.cat(rows).numpy()

    def _windows(self, waveform: np.ndarray) -> tuple[dict[str, Pair], dict[str, np.ndarray], dict[str, Any]]:
        """Return ({tap: (float64, float32)}, plain arrays, {turns, settled}) of a recording's windows."""
        from funasr.models.campplus.utils import postprocess, sv_chunk

        whole = [[0.0, len(waveform) / cases.RATE, waveform]]
        chunks = sv_chunk(whole)[:MOST_WINDOWS]
        feats = np.concatenate([features(chunk[2])[0]["feats"] for chunk in chunks])
        truth, single = (self._embedded(auto, feats) for auto in (self.double, self.single))
        pairs = {name: Pair.of(value, _alike(single)[name]) for name, value in _alike(truth).items()}
        labels = clustered(single)
        rng = np.random.default_rng(0)
        stray = NOISE * float(np.sqrt(np.mean((single - truth) ** 2)))
        others = [truth + stray * rng.standard_normal(truth.shape) for _ in range(DRAWS)]
        others += [self._embedded(self.double, feats + rng.uniform(-FRONT_END, FRONT_END, feats.shape))]
        settled = all(np.array_equal(clustered(other.astype(np.float32)), labels) for other in [truth, *others])
        turns = postprocess([list(chunk) for chunk in chunks], whole, labels, single)
        plain = {"windows.feats": feats, "labels": np.array(labels, np.int32)}
        plain |= {"gaps.truth": gaps(truth), "gaps.single": gaps(single)}
        return pairs, plain, {"turns": [[float(a), float(b), int(who)] for a, b, who in turns], "settled": settled}

    def more_facts(self) -> dict[str, dict[str, Any]]:
        """Return what FunASR makes of cases.py."""
        from funasr.models.campplus.utils import distribute_spk, postprocess, sv_chunk

        windows, turns = {}, {}
        for name, samples in cases.SAMPLES.items():
            chunks = sv_chunk([[2.0, 2.0 + samples / cases.RATE, np.ones(samples, np.float32)]])
            windows[name] = [[round(a, 6), round(b, 6), int(piece.sum())] for a, b, piece in chunks]
        for name, case in cases.labelled().items():
            segments = [[start, end, None] for start, end in case.times]
            turns[name] = cases.shown(postprocess(segments, [], np.array(case.labels), np.zeros((len(segments), 1))))
        sentences = [{"start": start, "end": end} for start, end in cases.SENTENCES_MS]
        speakers = [row["spk"] for row in distribute_spk(sentences, cases.SPOKEN)]
        labels = {name: clustered(rows) for name, rows in cases.embeddings().items()}
        return cases.facts(windows, turns, speakers, {name: each.tolist() for name, each in labels.items()})


def features(waveform: np.ndarray) -> tuple[dict[str, np.ndarray], Any]:
    """Return ({waveform, fbank, feats}, features as a tensor) of one waveform, by FunASR's own front end."""
    import torch
    from funasr.models.campplus import utils

    healthy, seen = utils.Kaldi.fbank, []

    def fbank(*given: Any, **more: Any) -> Any:
        seen.append(healthy(*given, **more))
        return seen[-1].clone()

    with mock.patch.object(utils.Kaldi, "fbank", fbank):
        feats, _, _ = utils.extract_feature([torch.from_numpy(waveform)])
    arrays = {"waveform": waveform, "fbank": seen[0].numpy()[None], "feats": feats.numpy().copy()}
    return arrays, feats


def clustered(embeddings: np.ndarray) -> np.ndarray:
    """Return FunASR's label of every window, renumbered; its k-means begins where NumPy's own state is: at seed 0."""
    import torch
    from funasr.models.campplus.cluster_backend import ClusterBackend
    from funasr.models.campplus.utils import correct_labels

    np.random.seed(0)
    return correct_labels(ClusterBackend()(torch.from_numpy(np.ascontiguousarray(embeddings))))


def gaps(embeddings: np.ndarray) -> np.ndarray:
    """Return FunASR's gaps between eigenvalues, by which it counts speakers; none of fewer than 20 windows."""
    from funasr.models.campplus import cluster_backend

    if len(embeddings) < 20:
        return np.zeros(0)
    spectral = cluster_backend.SpectralCluster()
    pruned = spectral.p_pruning(spectral.get_sim_mat(embeddings))
    values = cluster_backend.scipy.linalg.eigh(spectral.get_laplacian(0.5 * (pruned + pruned.T)))[0]
    return np.array(spectral.getEigenGaps(values[: spectral.max_num_spks + 1]))


def _alike(embeddings: np.ndarray) -> dict[str, np.ndarray]:
    """Return the taps of windows: embeddings (1, W, D), and how alike they are (1, W, W)."""
    from funasr.models.campplus.cluster_backend import SpectralCluster

    similar = SpectralCluster().get_sim_mat(embeddings)
    return {"windows.embedding": embeddings[None], "windows.similarity": similar[None]}
