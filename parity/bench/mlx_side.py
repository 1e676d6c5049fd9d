"""This project's own side: a converted directory. Imports mlx_model in its methods; never beside torch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from parity.bench import jobs
from parity.bench.jobs import ALIGN, DETECT, TRANSCRIBE
from parity.bench.peer import Peer
from reports.environment import mlx_device

CUDA = ("mlx-cuda-13", "mlx-cuda-12")
CACHE = 4 << 30  # bytes of freed memory that MLX keeps: on a GPU the sides share the card, and it would keep all of it


class Mlx(Peer):
    """The conversion, loaded as the commands load it."""

    name = "mlx"
    what = "mlx-funasr: this project"
    distributions = ("mlx-funasr", "mlx", "mlx-cpu", "mlx-metal", *CUDA, "scipy-openblas32", "mkl")
    judges = True
    jobs = (TRANSCRIBE, DETECT, ALIGN)
    files = ("*.safetensors", "*.safetensors.index.json", "config.json", "tokens.json")

    def load(self) -> None:
        """Load the converted directory."""
        from mlx_model.loading import load
        from mlx_model.machine.blas import mx

        self.mx, self.model = mx, load(self.path)
        self.job = jobs.job_of(type(self.model))
        self.device = mx.default_device().type.name
        if self.device == "gpu":
            mx.set_cache_limit(CACHE)

    def stages(self) -> Iterator[str]:
        """Do what `Model.recognize` does; what writes no text is timed from files on only."""
        if self.job != TRANSCRIBE:
            return iter(())
        two_steps = self.device == "gpu" and bool(getattr(self.model, "taken_apart", ()))
        return self._gpu_stages() if two_steps else self._stages()

    def _gpu_stages(self) -> Iterator[str]:
        """Do it in the way of mlx_model/engines/shapes.py; `network` is the model as `transcribe` calls it."""
        from mlx_model.engines import shapes
        from mlx_model.ops import masked
        from mlx_model.parts.basic import length_mask

        mx, model, batch = self.mx, self.model, len(self.waveforms)
        on_device, lengths = model.features(list(self.waveforms))
        feats, sizes = np.array(on_device), lengths.tolist()
        yield "frontend"
        padded, frames = shapes.padded(mx.array(feats), sizes)
        keep = length_mask(frames, padded.shape[1])
        encoder_out = masked(model.encoder(padded, keep), keep)
        self._wait(encoder_out)
        yield "encoder"
        heard = model.fire(encoder_out, frames)
        tokens = int(heard.token_num[:batch].max())
        self._wait(heard.firing)
        yield "predictor"
        logits = mx.zeros((batch, 0, 1))
        if tokens:
            logits = model.spell(heard, frames, shapes.time_shape(tokens))[:batch, :tokens]
        self.ids = model.token_ids(model.output(heard, logits, sizes, feats.shape[1]))
        yield "decoder"
        self.ids = model.token_ids(model(mx.array(feats), mx.array(sizes)))
        yield "network"

    def _wait(self, arrays: object) -> None:
        """Compute what is asked for, and return when the device is done."""
        self.mx.eval(arrays)
        self.mx.synchronize()

    def _stages(self) -> Iterator[str]:
        """Module after module; recordings are equally long, so nothing is masked but missing tokens."""
        mx, model, output = self.mx, self.model, None
        samples = [self.waveforms.shape[1]] * len(self.waveforms)
        feats, lengths = model.features_of(mx.array(self.waveforms), samples)
        self._wait((feats, lengths))
        yield "frontend"
        for name, output in model.stages(feats, lengths):
            self._wait([getattr(output, "logits", output), getattr(output, "more", None) or ()])
            yield name
        self.ids = model.token_ids(output)

    def transcribe(self, files: Sequence[str]) -> list[str]:
        """Return the texts of one call of the family's pipeline, which makes batches of its own."""
        self.ids, texts = jobs.ours(self.model, self.job, files)
        return texts

    def product(self, rows: int) -> Callable[[], object]:
        """Return one product, on a CPU by the BLAS in use, all threads on it."""
        from mlx_model.machine import blas
        from mlx_model.machine.device import cores

        a = self.mx.random.normal((rows, rows)).astype(getattr(self.mx, self.dtype))
        self._wait(a)
        if blas.status().library:
            blas.use_threads(cores())
        return lambda: self._wait(a @ a)

    def empty(self) -> Callable[[], object]:
        """Return the engine's parallel region without work; where there is no engine, MLX's smallest operation."""
        from mlx_model.engines import cpu_engine

        if self.device != "gpu" and cpu_engine.available():
            return cpu_engine.kernels().engine_empty
        one = self.mx.zeros(1)
        return lambda: self._wait(one + 1)

    def reset_device_peak(self) -> None:
        """Let MLX's peak begin at what its arrays take now."""
        if self.device == "gpu":
            self.mx.reset_peak_memory()

    def device_peak_mb(self) -> float | None:
        """Return the peak of MLX's arrays on the GPU."""
        return self.mx.get_peak_memory() / 1e6 if self.device == "gpu" else None

    @property
    def library(self) -> str:
        """The BLAS."""
        from mlx_model.machine.blas import status

        return "as MLX brings it" if self.device == "gpu" else status().library or "as MLX brings it"

    @property
    def numerics(self) -> dict[str, Any]:
        """What computes, and how exactly."""
        from mlx_model.machine.numerics import numerics

        return dict(numerics(self.model))

    @property
    def device_name(self) -> str:
        """MLX's device."""
        return mlx_device() or ""

    @classmethod
    def command(cls, path: str, audio: str, threads: int, device: str, job: str) -> list[str]:
        """Return the command a user types."""
        text = [jobs.known_text(audio)] if job == ALIGN else []
        return [sys.executable, "-m", "mlx_funasr", jobs.COMMANDS[job], path, audio, *text]
