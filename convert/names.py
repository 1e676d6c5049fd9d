"""FunASR's short names (`paraformer-zh`, `fsmn-vad`, ...) and the repositories that FunASR 1.4.16 takes them for.

The same name means different models on the two hubs: FunASR asks ModelScope unless told otherwise, `hf:NAME` stands for
its Hugging Face map. Mirrors funasr/download/name_maps_from_hub.py (a test compares). `list_models` is the table of
them, with the class that each is of.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlx_model.families import FAMILIES

MODELSCOPE: dict[str, str] = {
    "paraformer": "iic/speech_paraformer-large_asr_nat-zh-cn-16k-common-vocab8404-pytorch",
    "paraformer-zh": "iic/speech_seaco_paraformer_large_asr_nat-zh-cn-16k-common-vocab8404-pytorch",
    "paraformer-en": "iic/speech_paraformer-large-vad-punc_asr_nat-en-16k-common-vocab10020",
    "paraformer-en-spk": "iic/speech_paraformer-large-vad-punc_asr_nat-en-16k-common-vocab10020",
    "paraformer-zh-streaming": "iic/speech_paraformer-large_asr_nat-zh-cn-16k-common-vocab8404-online",
    "fsmn-vad": "iic/speech_fsmn_vad_zh-cn-16k-common-pytorch",
    "ct-punc": "iic/punc_ct-transformer_cn-en-common-vocab471067-large",
    "ct-punc-c": "iic/punc_ct-transformer_zh-cn-common-vocab272727-pytorch",
    "fa-zh": "iic/speech_timestamp_prediction-v1-16k-offline",
    "cam++": "iic/speech_campplus_sv_zh-cn_16k-common",
    "Whisper-large-v2": "iic/speech_whisper-large_asr_multilingual",
    "Whisper-large-v3": "iic/Whisper-large-v3",
    "Qwen-Audio": "Qwen/Qwen-Audio",
    "emotion2vec_plus_large": "iic/emotion2vec_plus_large",
    "emotion2vec_plus_base": "iic/emotion2vec_plus_base",
    "emotion2vec_plus_seed": "iic/emotion2vec_plus_seed",
    "Whisper-large-v3-turbo": "iic/Whisper-large-v3-turbo",
}

HUGGING_FACE: dict[str, str] = {
    "paraformer": "funasr/paraformer-zh",
    "paraformer-zh": "funasr/paraformer-zh",
    "paraformer-en": "funasr/paraformer-en",
    "paraformer-zh-streaming": "funasr/paraformer-zh-streaming",
    "fsmn-vad": "funasr/fsmn-vad",
    "ct-punc": "funasr/ct-punc",
    "ct-punc-c": "iic/punc_ct-transformer_zh-cn-common-vocab272727-pytorch",
    "fa-zh": "funasr/fa-zh",
    "cam++": "funasr/campplus",
    "Whisper-large-v2": "iic/speech_whisper-large_asr_multilingual",
    "Whisper-large-v3": "iic/Whisper-large-v3",
    "Qwen-Audio": "Qwen/Qwen-Audio",
    "emotion2vec_plus_large": "emotion2vec/emotion2vec_plus_large",
    "iic/emotion2vec_plus_large": "emotion2vec/emotion2vec_plus_large",
    "emotion2vec_plus_base": "emotion2vec/emotion2vec_plus_base",
    "iic/emotion2vec_plus_base": "emotion2vec/emotion2vec_plus_base",
    "emotion2vec_plus_seed": "emotion2vec/emotion2vec_plus_seed",
    "iic/emotion2vec_plus_seed": "emotion2vec/emotion2vec_plus_seed",
    "Whisper-large-v3-turbo": "iic/Whisper-large-v3-turbo",
}

BY_HUB = {"ms": MODELSCOPE, "hf": HUGGING_FACE}

# FunASR's class of what ModelScope has under a name (`model:` of its config.yaml). A repository on Hugging Face may
# hold another: `paraformer` and `paraformer-zh` are one there. What decides about a conversion is its config.yaml.
CLASSES: dict[str, str] = {
    "paraformer": "Paraformer",
    "paraformer-zh": "SeacoParaformer",
    "paraformer-en": "Paraformer",
    "paraformer-en-spk": "Paraformer",
    "paraformer-zh-streaming": "ParaformerStreaming",
    "fsmn-vad": "FsmnVADStreaming",
    "ct-punc": "CTTransformer",
    "ct-punc-c": "CTTransformer",
    "fa-zh": "MonotonicAligner",
    "cam++": "CAMPPlus",
    "Whisper-large-v2": "WhisperWarp",
    "Whisper-large-v3": "WhisperWarp",
    "Qwen-Audio": "QwenAudioWarp",
    "emotion2vec_plus_large": "Emotion2vec",
    "emotion2vec_plus_base": "Emotion2vec",
    "emotion2vec_plus_seed": "Emotion2vec",
    "Whisper-large-v3-turbo": "WhisperWarp",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedModel:
    """A short name: the repository on each hub (None: FunASR has no such name there), FunASR's class, our family.

    `family` is the model type that it is converted to, None where models of its class are not converted.
    """

    name: str
    modelscope: str | None
    hugging_face: str | None
    funasr_class: str
    family: str | None


def list_models() -> list[NamedModel]:
    """Return every short name of FunASR's, in FunASR's order; hub ids that its Hugging Face map redirects are none."""
    converted = {funasr_class: family for family, funasr_class in FAMILIES.items()}
    return [
        NamedModel(
            name=name, modelscope=MODELSCOPE.get(name), hugging_face=HUGGING_FACE.get(name), funasr_class=funasr_class,
            family=converted.get(funasr_class),
        )
        for name, funasr_class in CLASSES.items()
    ]  # fmt: skip
