"""The tables of all families, and FunASR's other classes by name, so that a refusal can say what was found.

A new family is one more file beside this one, found by its name in mlx_model/families.py (steps: ../README.md).
"""

from __future__ import annotations

from convert.architectures.family import Family
from mlx_model.families import FAMILIES, module_of


def _table(name: str) -> Family:
    """Return `TABLE` of architectures/NAME.py.

    Raises:
        LookupError: there is none, or it is another family's: a bug.
    """
    table = getattr(module_of("convert.architectures", name), "TABLE", None)
    if not isinstance(table, Family) or table.name != name:
        raise LookupError(f"convert/architectures/{name}.py: no TABLE that is the Family {name!r}")
    return table


TABLES: tuple[Family, ...] = tuple(_table(name) for name in FAMILIES)

# Classes of FunASR that people meet, families of ours or not yet, and what each is.
MET: dict[str, str] = {
    "SeacoParaformer": "hotword Paraformer; it is what ModelScope's alias 'paraformer-zh' fetches",
    "ParaformerStreaming": "streaming Paraformer",
    "BiCifParaformer": "Paraformer with timestamps (long audio)",
    "ContextualParaformer": "hotword Paraformer (CLAS)",
    "EParaformer": "enhanced Paraformer",
    "Paraformer_v2_community": "Paraformer v2",
    "SenseVoiceSmall": "SenseVoice",
    "FsmnKWS": "keyword spotting",
    "FsmnKWSConvert": "keyword spotting",
    "FsmnKWSMT": "keyword spotting",
    "SanmKWS": "keyword spotting",
    "CTTransformer": "punctuation",
    "CTTransformerStreaming": "streaming punctuation",
    "MonotonicAligner": "forced alignment (fa-zh)",
    "CAMPPlus": "speaker embedding",
    "ERes2NetV2": "speaker embedding",
    "Emotion2vec": "emotion recognition",
    "UniASR": "two-pass recognition",
    "SCAMA": "streaming recognition",
    "Conformer": "autoregressive recognition",
    "Transformer": "autoregressive recognition",
    "Branchformer": "autoregressive recognition",
    "EBranchformer": "autoregressive recognition",
    "SANM": "autoregressive recognition",
    "Transducer": "transducer",
    "BAT": "transducer",
    "LCBNet": "contextual recognition",
    "WhisperWarp": "Whisper; convert it with an MLX Whisper instead",
    "FunASRNano": "speech language model",
    "LLMASR": "speech language model",
    "Qwen3ASR": "speech language model",
    "GLMASR": "speech language model",
}
UNSUPPORTED: dict[str, str] = {name: what for name, what in MET.items() if name not in FAMILIES.values()}

# `model:` of ESPnet-style files, and other names of a class -> today's class.
ESPNET_MODELS: dict[str, str] = {
    "paraformer": "Paraformer",
    "paraformer_online": "ParaformerStreaming",
    "bicif_paraformer": "BiCifParaformer",
    "contextual_paraformer": "ContextualParaformer",
    "neatcontextual_paraformer": "ContextualParaformer",
    "seaco_paraformer": "SeacoParaformer",
    "timestamp_prediction": "MonotonicAligner",
    "uniasr": "UniASR",
    "mfcca": "Conformer",
    "e2e_vad": "FsmnVADStreaming",
    "e2evad": "FsmnVADStreaming",
    "asr": "Conformer",
    "bat": "BAT",
    "rnnt": "Transducer",
    "target_delay": "CTTransformer",
    "vad_realtime": "CTTransformerStreaming",
    "iic/speech_eres2netv2_sv_zh-cn_16k-common": "ERes2NetV2",  # FunASR registers its class under this name, too
}
