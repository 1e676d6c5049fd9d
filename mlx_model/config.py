"""The families' configurations: one frozen dataclass per config.yaml section, keys spelt as FunASR spells them.

sections.py says how keys are honoured or refused. Must not import mlx: `inspect` reads it without a device.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from mlx_model.errors import ConfigError
from mlx_model.sections import ModelConfig, Parts, Section


@dataclass(frozen=True, slots=True, kw_only=True)
class WavFrontendConfig(Section):
    """`frontend_conf` of WavFrontend. `dither` is FunASR's setting; transcription uses 0 unless asked otherwise."""

    WHERE: ClassVar[str] = "frontend_conf"
    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {"snip_edges": (True,)}
    fs: int = 16000
    window: str = "hamming"
    n_mels: int = 80
    frame_length: float = 25.0  # ms
    frame_shift: float = 10.0  # ms
    lfr_m: int = 1
    lfr_n: int = 1
    dither: float = 1.0
    upsacle_samples: bool = True  # sic; scales [-1, 1] to the 16-bit range Kaldi expects
    cmvn: bool = True  # whether cmvn_shift / cmvn_scale stand in the weights (FunASR: cmvn_file given)

    @property
    def output_size(self) -> int:
        """Width of one low-frame-rate feature vector: n_mels * lfr_m."""
        return self.n_mels * self.lfr_m


@dataclass(frozen=True, slots=True, kw_only=True)
class SANMEncoderConfig(Section):
    """`encoder_conf` of SANMEncoder, defaults as in funasr/models/sanm/encoder.py."""

    WHERE: ClassVar[str] = "encoder_conf"
    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = ("sanm_shfit",)
    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {
        "input_layer": ("pe",),
        "normalize_before": (True,),
        "concat_after": (False,),
        "positionwise_layer_type": ("linear",),
        "selfattention_layer_type": ("sanm",),
        "interctc_layer_idx": ([], None),
        "interctc_use_conditioning": (False,),
    }
    output_size: int = 256
    attention_heads: int = 4
    linear_units: int = 2048
    num_blocks: int = 6
    kernel_size: int = 11
    sanm_shfit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ParaformerSANMDecoderConfig(Section):
    """`decoder_conf` of ParaformerSANMDecoder, defaults as in funasr/models/paraformer/decoder.py."""

    WHERE: ClassVar[str] = "decoder_conf"
    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = ("sanm_shfit",)
    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {
        "input_layer": ("embed",),
        "wo_input_layer": (False, True),
        "use_output_layer": (True,),
        "normalize_before": (True,),
        "concat_after": (False,),
    }
    attention_heads: int = 4
    linear_units: int = 2048
    num_blocks: int = 6
    att_layer_num: int = 6
    kernel_size: int = 21
    sanm_shfit: int | None = 0  # None means (kernel_size - 1) // 2, as in FunASR


@dataclass(frozen=True, slots=True, kw_only=True)
class CifPredictorConfig(Section):
    """`predictor_conf` of CifPredictor (V1) and CifPredictorV2. V2 reads no threshold: it fires at integers."""

    WHERE: ClassVar[str] = "predictor_conf"
    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = ("l_order", "r_order")
    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {"threshold": (1, 1.0)}
    idim: int
    l_order: int
    r_order: int
    smooth_factor: float = 1.0
    noise_threshold: float = 0.0
    tail_threshold: float | None = None  # None: 0.45 in V1, 0.0 in V2
    tail_mask: bool = True  # differs from False in FunASR's padded batches only; at batch size one they agree


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig(Section):
    """How ids become text. `kind` is FunASR's tokenizer class; the vocabulary itself lies in tokens.json."""

    WHERE: ClassVar[str] = "tokenizer"
    kind: str = "CharTokenizer"
    unk_symbol: str = "<unk>"
    space_symbol: str = "<space>"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParaformerArguments(Section):
    """Arguments of FunASR's class Paraformer (`model_conf`, or at top level, which wins)."""

    WHERE: ClassVar[str] = "model_conf"
    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = ("blank_id", "sos", "eos")
    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {"share_embedding": (False,)}
    blank_id: int = 0
    sos: int | None = 1  # None: the last token
    eos: int | None = 2
    ctc_weight: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ParaformerConfig(ModelConfig):
    """Everything `mlx_model.load` needs of a Paraformer. `predictor_class` is "CifPredictor" or "CifPredictorV2"."""

    SECTIONS: ClassVar[dict[str, type[Section]]] = {
        "frontend": WavFrontendConfig,
        "encoder": SANMEncoderConfig,
        "decoder": ParaformerSANMDecoderConfig,
        "predictor": CifPredictorConfig,
        "tokenizer": TokenizerConfig,
    }
    ARGUMENTS: ClassVar[type[Section]] = ParaformerArguments
    PREDICTORS: ClassVar[tuple[str, ...]] = ("CifPredictor", "CifPredictorV2")
    model_type: str = "paraformer"
    vocab_size: int
    frontend: WavFrontendConfig
    encoder: SANMEncoderConfig
    decoder: ParaformerSANMDecoderConfig
    predictor_class: str
    predictor: CifPredictorConfig
    tokenizer: TokenizerConfig
    blank_id: int = 0
    sos: int = 1
    eos: int = 2

    @classmethod
    def assemble(cls, parts: Parts) -> Self:
        """Return the configuration; see the base class."""
        given, last = parts.arguments, (parts.vocab_size or 1) - 1
        if given.ctc_weight >= 1.0:
            raise ConfigError(
                f"model_conf: ctc_weight = {given.ctc_weight!r} is not supported (below 1: with 1 there is no decoder)"
            )
        return cls(
            vocab_size=last + 1,
            predictor_class=parts.components["predictor"],
            tokenizer=parts.tokenizer or TokenizerConfig(),
            blank_id=given.blank_id,
            sos=last if given.sos is None else given.sos,
            eos=last if given.eos is None else given.eos,
            dtype=parts.dtype,
            **parts.sections,
        )

    def blocks(self) -> dict[str, int]:
        """Return the blocks asked for; see the base class."""
        return {
            "encoder_conf": self.encoder.num_blocks,
            "decoder_conf": max(self.decoder.num_blocks, self.decoder.att_layer_num),
        }

    def check(self) -> None:
        """Raise ConfigError where the parts do not fit together."""
        width, predictor = self.encoder.output_size, self.predictor
        if self.predictor_class not in self.PREDICTORS:
            raise ConfigError(
                f"predictor {self.predictor_class!r} is not supported (only {', '.join(self.PREDICTORS)})"
            )
        if predictor.idim != width:
            raise ConfigError(f"predictor_conf: idim = {predictor.idim} but the encoder's output_size is {width}")
        if predictor.smooth_factor - predictor.noise_threshold > 1.0:
            raise ConfigError(
                f"predictor_conf: smooth_factor {predictor.smooth_factor} lets a frame weigh more than one token, "
                "which FunASR's vectorised CIF drops silently; not supported"
            )
        for where, section in (("encoder_conf", self.encoder), ("decoder_conf", self.decoder)):
            if width % section.attention_heads:
                raise ConfigError(
                    f"{where}: width {width} is not divisible by attention_heads {section.attention_heads}"
                )
        if self.frontend.output_size % 2:
            raise ConfigError(f"frontend_conf: feature width {self.frontend.output_size} must be even (sin/cos halves)")


@dataclass(frozen=True, slots=True, kw_only=True)
class WavFrontendOnlineConfig(WavFrontendConfig):
    """`frontend_conf` of WavFrontendOnline, for one score every fbank frame."""

    def check(self) -> None:
        """Raise ConfigError for stackings that FunASR's streaming front end does not do, or does not do so."""
        if self.lfr_n != 1 or self.lfr_m % 2 == 0 or self.lfr_m < 3:
            raise ConfigError(
                f"frontend_conf: lfr_m = {self.lfr_m}, lfr_n = {self.lfr_n} is not supported for a stream (an odd "
                "lfr_m of at least 3, and lfr_n 1)"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FSMNConfig(Section):
    """`encoder_conf` of FSMN; FunASR has no defaults here."""

    WHERE: ClassVar[str] = "encoder_conf"
    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = ("rorder", "rstride")
    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {"use_softmax": (True,)}
    input_dim: int
    input_affine_dim: int
    fsmn_layers: int
    linear_dim: int
    proj_dim: int
    lorder: int  # taps into the past, the frame itself included
    rorder: int  # taps into the future
    lstride: int  # frames between the taps
    rstride: int
    output_affine_dim: int
    output_dim: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VADXOptions(Section):
    """`model_conf` of FsmnVADStreaming, defaults as in funasr/models/fsmn_vad_streaming/model.py::VADXOptions.

    Times are in milliseconds, levels in dB of a frame's energy at full scale 1.0. vad_decision.py says what each does.
    """

    WHERE: ClassVar[str] = "model_conf"
    MAY_BE_ZERO: ClassVar[tuple[str, ...]] = (
        "detect_mode", "max_end_silence_time", "max_start_silence_time", "do_extend", "lookback_time_start_point",
        "lookahead_time_end_point", "sil_to_speech_time_thres", "speech_to_sil_time_thres", "max_single_segment_time",
    )  # fmt: skip
    sample_rate: int = 16000
    detect_mode: int = 1  # 0: one utterance, then nothing more; 1: any number of them
    max_end_silence_time: int = 800
    max_start_silence_time: int = 3000
    window_size_ms: int = 200
    sil_to_speech_time_thres: int = 150
    speech_to_sil_time_thres: int = 150
    speech_2_noise_ratio: float = 1.0
    do_extend: int = 1
    lookback_time_start_point: int = 200
    lookahead_time_end_point: int = 100
    max_single_segment_time: int = 60000
    snr_thres: float = -100.0
    noise_frame_num_used_for_snr: int = 100
    decibel_thres: float = -100.0
    speech_noise_thres: float = 0.6
    fe_prior_thres: float = 1e-4
    silence_pdf_num: int = 1
    sil_pdf_ids: list[int] = field(default_factory=lambda: [0])
    frame_in_ms: int = 10
    frame_length_ms: int = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class FsmnVADStreamingConfig(ModelConfig):
    """Everything `mlx_model.load` needs of an FSMN-VAD."""

    SECTIONS: ClassVar[dict[str, type[Section]]] = {
        "frontend": WavFrontendOnlineConfig,
        "encoder": FSMNConfig,
        "vad_opts": VADXOptions,
    }
    ARGUMENTS: ClassVar[type[Section]] = VADXOptions
    model_type: str = "fsmn_vad_streaming"
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
        if not ids or not all(isinstance(i, int) and 0 <= i < encoder.output_dim for i in ids):
            raise ConfigError(f"model_conf: sil_pdf_ids = {ids} must name pdfs below output_dim {encoder.output_dim}")
        if len(ids) != opts.silence_pdf_num:
            raise ConfigError(f"model_conf: silence_pdf_num = {opts.silence_pdf_num}, but sil_pdf_ids = {ids}")
        if opts.window_size_ms < opts.frame_in_ms:
            raise ConfigError(f"model_conf: window_size_ms = {opts.window_size_ms} is shorter than one frame")
        if opts.detect_mode not in (0, 1):
            raise ConfigError(f"model_conf: detect_mode = {opts.detect_mode} (0: one utterance, 1: many)")
