"""An FSMN-VAD's configuration: how its parts fit together. Stdlib only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from mlx_model.config.parts import FSMNConfig, VADXOptions, WavFrontendOnlineConfig
from mlx_model.config.sections import ModelConfig, Parts, Section, choice
from mlx_model.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class FsmnVADStreamingConfig(ModelConfig):
    """Everything `mlx_model.load` needs of an FSMN-VAD."""

    SECTIONS: ClassVar[dict[str, type[Section]]] = {
        "frontend": WavFrontendOnlineConfig,
        "encoder": FSMNConfig,
        "vad_opts": VADXOptions,
    }
    ARGUMENTS: ClassVar[type[Section]] = VADXOptions
    model_type: str = choice("fsmn_vad_streaming", "fsmn_vad_streaming")
    frontend: WavFrontendOnlineConfig
    encoder: FSMNConfig
    vad_opts: VADXOptions

    @classmethod
    def assemble(cls, parts: Parts) -> Self:
        """Return the configuration; see the base class."""
        return cls(vad_opts=parts.arguments, dtype=parts.dtype, **parts.sections)

    def blocks(self) -> dict[str, int]:
        """Return the blocks asked for; see the base class."""
        return {"encoder_conf": self.encoder.fsmn_layers}

    def check(self) -> None:
        """Raise ConfigError where the parts do not fit together."""
        self.frontend.check()
        frontend, encoder, opts = self.frontend, self.encoder, self.vad_opts
        if encoder.input_dim != frontend.output_size:
            raise ConfigError(
                f"encoder_conf: input_dim = {encoder.input_dim} but the front end's features are "
                f"{frontend.output_size} wide (n_mels * lfr_m)"
            )
        if encoder.rorder and not encoder.rstride:
            raise ConfigError("encoder_conf: rstride = 0 with rorder > 0; taps into the future need a distance")
        for key, ours, theirs in (
            ("sample_rate", opts.sample_rate, frontend.fs),
            ("frame_in_ms", opts.frame_in_ms, frontend.frame_shift),
            ("frame_length_ms", opts.frame_length_ms, frontend.frame_length),
        ):
            if ours != theirs:
                raise ConfigError(f"model_conf: {key} = {ours} but the front end has {theirs:g}")
        ids = opts.sil_pdf_ids
        if not all(index < encoder.output_dim for index in ids):
            raise ConfigError(f"model_conf: sil_pdf_ids = {ids} must name pdfs below output_dim {encoder.output_dim}")
        if len(ids) != opts.silence_pdf_num:
            raise ConfigError(f"model_conf: silence_pdf_num = {opts.silence_pdf_num}, but sil_pdf_ids = {ids}")
        if opts.window_size_ms < opts.frame_in_ms:
            raise ConfigError(f"model_conf: window_size_ms = {opts.window_size_ms} is shorter than one frame")
        if opts.max_end_silence_time < opts.speech_to_sil_time_thres and not opts.do_extend:
            raise ConfigError(
                f"model_conf: max_end_silence_time = {opts.max_end_silence_time} is below speech_to_sil_time_thres = "
                f"{opts.speech_to_sil_time_thres}: a segment would end before its silence begins"
            )
