"""The families there are, and FunASR's other classes by name, so that a refusal can say what was found.

A new family is one more file beside this one and one more entry in FAMILIES (steps: ../README.md).
"""

from convert.architectures.family import Family
from convert.architectures.fsmn_vad_streaming import TABLE as FSMN_VAD_STREAMING
from convert.architectures.paraformer import TABLE as PARAFORMER

FAMILIES: tuple[Family, ...] = (PARAFORMER, FSMN_VAD_STREAMING)

# FunASR classes (and their names in ESPnet-style files) that are known but not converted.
UNSUPPORTED: dict[str, str] = {
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

# `model:` of ESPnet-style files -> today's class.
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
}
