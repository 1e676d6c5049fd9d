"""An FSMN-VAD's configuration: its decision's options, and how its parts fit together. Stdlib only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Self

from mlx_model.config.parts import MAX_WIDTH, FSMNConfig, WavFrontendOnlineConfig
from mlx_model.config.sections import MAX_SIZE, ModelConfig, Parts, Section, bounds, choice, number
from mlx_model.errors import ConfigError

DAY_MS = 86_400_000

@dataclass(frozen=True, slots=True, kw_only=True)
class VADXOptions(Section):
    """`model_conf` of FsmnVADStreaming, defaults as in funasr/models/fsmn_vad_streaming/model.py::VADXOptions.

    Times are in milliseconds, levels in dB of a frame's energy at full scale 1.0. vad_decision.py says what each does.
    """

    WHERE: ClassVar[str] = "model_conf"
    sample_rate: int = number(1000, 768_000, 16000)
    detect_mode: int = number(0, 1, 1)  # 0: one utterance, then nothing more; 1: any number of them
    max_end_silence_time: int = number(0, DAY_MS, 800)
    max_start_silence_time: int = number(0, DAY_MS, 3000)
    window_size_ms: int = number(1, 60_000, 200)
    sil_to_speech_time_thres: int = number(0, 60_000, 150)
    speech_to_sil_time_thres: int = number(0, 60_000, 150)
    speech_2_noise_ratio: float = number(0, 100, 1.0)
    do_extend: int = number(0, 1, 1)
    lookback_time_start_point: int = number(0, DAY_MS, 200)
    lookahead_time_end_point: int = number(0, DAY_MS, 100)
    max_single_segment_time: int = number(0, DAY_MS, 60000)
    snr_thres: float = number(-1000, 1000, -100.0)
    noise_frame_num_used_for_snr: int = number(1, MAX_SIZE, 100)
    decibel_thres: float = number(-1000, 1000, -100.0)
    speech_noise_thres: float = number(0, 1, 0.6)
    fe_prior_thres: float = number(0, 1, 1e-4)
    silence_pdf_num: int = number(1, MAX_WIDTH, 1)
    sil_pdf_ids: list[int] = field(default_factory=lambda: [0], metadata=bounds(0, MAX_WIDTH))
    frame_in_ms: int = number(1, 1000, 10)
    frame_length_ms: int = number(1, 1000, 25)


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
