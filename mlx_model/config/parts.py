"""The sections of parts that families share: one frozen dataclass each, keys spelt as FunASR spells them.

sections.py says how keys are honoured or refused. Stdlib only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from mlx_model.config.sections import MAX_SIZE, Section, bounds, choice, number
from mlx_model.errors import ConfigError

MAX_WIDTH, MAX_BLOCKS, MAX_KERNEL = 65_536, 512, 1001  # many times the largest released model's
MAX_FFT = 65_536  # samples of a frame
DAY_MS = 86_400_000
FRAME_SAMPLES = 960  # of a recogniser's frame in a stream: 60 ms at 16 kHz
# Reasons why sections set keys aside (TRAINING_ONLY), each key listed by the section that has it.
DROPOUT = "dropout acts in training only"
LORA = "LoRA is merged into the weights"
TENSORFLOW = "names of an old TensorFlow import"
NO_MARK, UNKNOWN_MARK = "_", "<unk>"  # of a `punc_list`; no word was labelled with the second in training
POSITIONS = "input_layer pe fixes the sinusoidal encoder; FunASR does not read the name"


@dataclass(frozen=True, slots=True, kw_only=True)
class WavFrontendConfig(Section):
    """`frontend_conf` of WavFrontend. `dither` is FunASR's setting; transcription uses 0 unless asked otherwise."""

    WHERE: ClassVar[str] = "frontend_conf"
    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {"snip_edges": (True,)}
    TRAINING_ONLY: ClassVar[dict[str, str]] = {
        "filter_length_min": "stored by FunASR's WavFrontend, never read",
        "filter_length_max": "stored by FunASR's WavFrontend, never read",
    }
    fs: int = number(1000, 768_000, 16000, why="sample rates of recordings")
    window: str = "hamming"
    n_mels: int = number(1, 1024, 80)
    frame_length: float = number(0.1, 1000, 25.0)  # ms
    frame_shift: float = number(0.1, 1000, 10.0)  # ms
    lfr_m: int = number(1, 64, 1)
    lfr_n: int = number(1, 64, 1)
    dither: float = number(0, 32768, 1.0)  # in 16-bit units
    upsacle_samples: bool = True  # sic; scales [-1, 1] to the 16-bit range Kaldi expects
    cmvn: bool = True  # whether cmvn_shift / cmvn_scale stand in the weights (FunASR: cmvn_file given)

    @property
    def output_size(self) -> int:
        """Width of one low-frame-rate feature vector: n_mels * lfr_m."""
        return self.n_mels * self.lfr_m

    @property
    def frame_samples(self) -> int:
        """Samples of one frame; 25 ms at 16 kHz are 400."""
        return round(self.fs * self.frame_length / 1000)

    @property
    def shift_samples(self) -> int:
        """Samples from one frame's first to the next one's; 10 ms at 16 kHz are 160."""
        return round(self.fs * self.frame_shift / 1000)

    def check(self) -> None:
        """Raise ConfigError for frames and filters that no Fourier transform of a usual size can have."""
        size, shift = self.frame_samples, self.shift_samples
        if not 2 <= size <= MAX_FFT:
            raise ConfigError(
                f"frontend_conf: frame_length = {self.frame_length:g} ms at fs = {self.fs} is {size} samples; expected "
                f"2 to {MAX_FFT}"
            )
        if shift < 1:
            raise ConfigError(
                f"frontend_conf: frame_shift = {self.frame_shift:g} ms at fs = {self.fs} is below one sample"
            )
        bins = (1 << (size - 1).bit_length()) // 2
        if self.n_mels > bins:
            raise ConfigError(
                f"frontend_conf: n_mels = {self.n_mels}, but frames of {size} samples have only {bins} frequencies"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class WavFrontendOnlineConfig(WavFrontendConfig):
    """`frontend_conf` of WavFrontendOnline, for one score every fbank frame."""

    def check(self) -> None:
        """Raise ConfigError for stackings that FunASR's streaming front end does not do, or does not do so."""
        WavFrontendConfig.check(self)
        if self.lfr_n != 1 or self.lfr_m % 2 == 0 or self.lfr_m < 3:
            raise ConfigError(
                f"frontend_conf: lfr_m = {self.lfr_m}, lfr_n = {self.lfr_n} is not supported for a stream (an odd "
                "lfr_m of at least 3, and lfr_n 1)"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class WavFrontendStackedConfig(WavFrontendConfig):
    """`frontend_conf` of WavFrontendOnline, for frames of which several are stacked into one: a recogniser's."""

    def check(self) -> None:
        """Raise ConfigError for stackings that FunASR's streaming front end does not do, or does not do so."""
        WavFrontendConfig.check(self)
        m, n = self.lfr_m, self.lfr_n
        if m % 2 == 0 or not (m - 1) // 2 < n < m:
            raise ConfigError(
                f"frontend_conf: lfr_m = {m}, lfr_n = {n} is not supported for a stream (an odd lfr_m, and lfr_n below "
                "it and above half of it, such as 7 and 6)"
            )
        samples = self.shift_samples * n
        if samples != FRAME_SAMPLES:
            raise ConfigError(
                f"frontend_conf: fs = {self.fs}, frame_shift = {self.frame_shift:g} and lfr_n = {n} make frames of "
                f"{samples} samples; FunASR cuts every stream into frames of {FRAME_SAMPLES}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SANMEncoderConfig(Section):
    """`encoder_conf` of SANMEncoder, defaults as in funasr/models/sanm/encoder.py."""

    WHERE: ClassVar[str] = "encoder_conf"
    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {
        "input_layer": ("pe",),
        "normalize_before": (True,),
        "concat_after": (False,),
        "positionwise_layer_type": ("linear",),
        "selfattention_layer_type": ("sanm",),
        "interctc_layer_idx": ([], None),
        "interctc_use_conditioning": (False,),
    }
    TRAINING_ONLY: ClassVar[dict[str, str]] = {
        "dropout_rate": DROPOUT,
        "positional_dropout_rate": DROPOUT,
        "attention_dropout_rate": DROPOUT,
        "pos_enc_class": POSITIONS,
        "positionwise_conv_kernel_size": "used by positionwise_layer_type conv1d only",
        "padding_idx": "used by input_layer embed only",
        "lora_list": LORA,
        "lora_rank": LORA,
        "lora_alpha": LORA,
        "lora_dropout": LORA,
        "tf2torch_tensor_name_prefix_torch": TENSORFLOW,
        "tf2torch_tensor_name_prefix_tf": TENSORFLOW,
    }
    output_size: int = number(1, MAX_WIDTH, 256)
    attention_heads: int = number(1, 1024, 4)
    linear_units: int = number(1, MAX_SIZE, 2048)
    num_blocks: int = number(1, MAX_BLOCKS, 6)
    kernel_size: int = number(1, MAX_KERNEL, 11)
    sanm_shfit: int = number(0, MAX_KERNEL, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEncoderConfig(SANMEncoderConfig):
    """`encoder_conf` of a SANMEncoder that is given words, not sound: how wide they enter stands here."""

    input_size: int = number(2, MAX_WIDTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class SANMVadEncoderConfig(TextEncoderConfig):
    """`encoder_conf` of SANMVadEncoder, defaults as in funasr/models/ct_transformer_streaming/encoder.py."""

    TRAINING_ONLY: ClassVar[dict[str, str]] = {
        key: why for key, why in SANMEncoderConfig.TRAINING_ONLY.items() if why not in (LORA, TENSORFLOW)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class SANMEncoderChunkOptConfig(SANMEncoderConfig):
    """`encoder_conf` of SANMEncoderChunkOpt, defaults as in funasr/models/scama/encoder.py.

    Which windows it was trained with does not bind those it is run with (config/chunking.py).
    """

    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {**SANMEncoderConfig.FIXED, "input_layer": ("pe_online",)}
    TRAINING_ONLY: ClassVar[dict[str, str]] = {
        **{key: why for key, why in SANMEncoderConfig.TRAINING_ONLY.items() if why != LORA},
        **dict.fromkeys(
            ("chunk_size", "stride", "pad_left", "encoder_att_look_back_factor", "decoder_att_look_back_factor"),
            "the windows of training; a stream is told its own",
        ),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class SenseVoiceEncoderSmallConfig(SANMEncoderConfig):
    """`encoder_conf` of SenseVoiceEncoderSmall, defaults as in funasr/models/sense_voice/model.py."""

    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {}
    TRAINING_ONLY: ClassVar[dict[str, str]] = {
        **{
            key: why
            for key, why in SANMEncoderConfig.TRAINING_ONLY.items()
            if why not in (LORA, TENSORFLOW)  # which this class does not have
        },
        **dict.fromkeys(
            ("input_layer", "normalize_before", "concat_after", "positionwise_layer_type", "selfattention_layer_type"),
            "FunASR takes it and builds the same encoder whatever it says",
        ),
        "stochastic_depth_rate": DROPOUT,
    }
    tp_blocks: int = number(0, MAX_BLOCKS, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParaformerSANMDecoderConfig(Section):
    """`decoder_conf` of ParaformerSANMDecoder, defaults as in funasr/models/paraformer/decoder.py."""

    WHERE: ClassVar[str] = "decoder_conf"
    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {
        "input_layer": ("embed",),
        "wo_input_layer": (False, True),
        "use_output_layer": (True,),
        "normalize_before": (True,),
        "concat_after": (False,),
    }
    TRAINING_ONLY: ClassVar[dict[str, str]] = {
        "dropout_rate": DROPOUT,
        "positional_dropout_rate": DROPOUT,
        "self_attention_dropout_rate": DROPOUT,
        "src_attention_dropout_rate": DROPOUT,
        "pos_enc_class": "with input_layer embed FunASR makes no positional encoding",
        "chunk_multiply_factor": "streaming training only",
        "lora_list": LORA,
        "lora_rank": LORA,
        "lora_alpha": LORA,
        "lora_dropout": LORA,
        "tf2torch_tensor_name_prefix_torch": TENSORFLOW,
        "tf2torch_tensor_name_prefix_tf": TENSORFLOW,
    }
    attention_heads: int = number(1, 1024, 4)
    linear_units: int = number(1, MAX_SIZE, 2048)
    num_blocks: int = number(1, MAX_BLOCKS, 6)
    att_layer_num: int = number(1, MAX_BLOCKS, 6)
    kernel_size: int = number(1, MAX_KERNEL, 21)
    sanm_shfit: int | None = number(0, MAX_KERNEL, 0)  # None means (kernel_size - 1) // 2, as in FunASR


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextualParaformerDecoderConfig(ParaformerSANMDecoderConfig):
    """`decoder_conf` of ContextualParaformerDecoder, which takes fewer arguments.

    Defaults as in funasr/models/contextual_paraformer/decoder.py.
    """

    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {
        key: values for key, values in ParaformerSANMDecoderConfig.FIXED.items() if key != "wo_input_layer"
    }
    TRAINING_ONLY: ClassVar[dict[str, str]] = {
        key: why
        for key, why in ParaformerSANMDecoderConfig.TRAINING_ONLY.items()
        if why not in (LORA, TENSORFLOW) and key != "chunk_multiply_factor"
    }
    att_layer_num: int = number(2, MAX_BLOCKS, 6, why="with one FunASR has no `decoders`, and fails where it runs them")


@dataclass(frozen=True, slots=True, kw_only=True)
class CifPredictorConfig(Section):
    """`predictor_conf` of CifPredictor (V1) and CifPredictorV2. V2 reads no threshold: it fires at integers."""

    WHERE: ClassVar[str] = "predictor_conf"
    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {"threshold": (1, 1.0)}
    TRAINING_ONLY: ClassVar[dict[str, str]] = {
        "dropout": DROPOUT,
        "tf2torch_tensor_name_prefix_torch": TENSORFLOW,
        "tf2torch_tensor_name_prefix_tf": TENSORFLOW,
    }
    idim: int = number(1, MAX_WIDTH)
    l_order: int = number(0, MAX_KERNEL)
    r_order: int = number(0, MAX_KERNEL)
    smooth_factor: float = number(0.01, 100, 1.0, why="with 0 no token ever fires")
    noise_threshold: float = number(0, 1, 0.0)
    tail_threshold: float | None = number(0, 1, None)  # None: 0.45 in V1, 0.0 in V2
    tail_mask: bool = True  # differs from False in FunASR's padded batches only; at batch size one they agree


@dataclass(frozen=True, slots=True, kw_only=True)
class CifPredictorV3Config(CifPredictorConfig):
    """`predictor_conf` of CifPredictorV3: V2's, and the second head, of `upsample_times` frames to one, for times."""

    upsample_times: int = number(1, MAX_KERNEL, 5)
    upsample_type: str = choice("cnn", "cnn", "cnn_blstm")  # cnn_attn FunASR builds, and cannot run: its mask is short
    use_cif1_cnn: bool = True
    smooth_factor2: float = number(0.01, 100, 1.0, why="with 0 no token has a time")
    noise_threshold2: float = number(0, 1, 0.0)

    def check(self) -> None:
        """Raise ConfigError for a second head that FunASR reads wrongly, or whose frames never weigh anything."""
        if self.upsample_times != 3:
            raise ConfigError(
                f"predictor_conf: upsample_times = {self.upsample_times} is not supported (only 3: FunASR reads times "
                "off as if it were 3 whatever it is)"
            )
        if self.smooth_factor2 - self.noise_threshold2 <= 0.0:
            raise ConfigError(
                f"predictor_conf: noise_threshold2 = {self.noise_threshold2:g} is not below smooth_factor2 = "
                f"{self.smooth_factor2:g}: no token would have a time"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class FSMNConfig(Section):
    """`encoder_conf` of FSMN; FunASR has no defaults here."""

    WHERE: ClassVar[str] = "encoder_conf"
    FIXED: ClassVar[dict[str, tuple[Any, ...]]] = {"use_softmax": (True,)}
    input_dim: int = number(1, MAX_WIDTH)
    input_affine_dim: int = number(1, MAX_WIDTH)
    fsmn_layers: int = number(1, MAX_BLOCKS)
    linear_dim: int = number(1, MAX_WIDTH)
    proj_dim: int = number(1, MAX_WIDTH)
    lorder: int = number(1, MAX_KERNEL)  # taps into the past, the frame itself included
    rorder: int = number(0, MAX_KERNEL)  # taps into the future
    lstride: int = number(1, MAX_KERNEL)  # frames between the taps
    rstride: int = number(0, MAX_KERNEL)
    output_affine_dim: int = number(1, MAX_WIDTH)
    output_dim: int = number(1, MAX_WIDTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class VADXOptions(Section):
    """`model_conf` of FsmnVADStreaming, defaults as in funasr/models/fsmn_vad_streaming/model.py::VADXOptions.

    Times are in milliseconds, levels in dB of a frame's energy at full scale 1.0. vad_decision.py says what each does.
    """

    WHERE: ClassVar[str] = "model_conf"
    TRAINING_ONLY: ClassVar[dict[str, str]] = {
        "snr_mode": "stored by FunASR's VADXOptions, never read",
        "do_start_point_detection": "FunASR does the same either way",
        "do_end_point_detection": "FunASR does the same either way",
        "nn_eval_block_size": "overwritten by FunASR with every chunk",
        "dcd_block_size": "stored by FunASR's VADXOptions, never read",
        "speech_noise_thresh_low": "stored by FunASR's VADXOptions, never read",
        "speech_noise_thresh_high": "stored by FunASR's VADXOptions, never read",
        "output_frame_probs": "collected inside FunASR, never returned",
    }
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
class TokenizerConfig(Section):
    """How ids become text. `kind` is FunASR's tokenizer class; the vocabulary itself lies in tokens.json."""

    WHERE: ClassVar[str] = "tokenizer"
    kind: str = choice("CharTokenizer", "CharTokenizer", "SentencepiecesTokenizer")
    unk_symbol: str = "<unk>"
    space_symbol: str = "<space>"
