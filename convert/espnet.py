"""Old ESPnet-style config.yaml (FunASR 0.x): class names and sections translated to today's; the rest is set aside.

Such a file is the whole command line of a training run, with the vocabulary inline. Imports neither torch nor mlx.
"""

from __future__ import annotations

from typing import Any

from convert.architectures import ESPNET_MODELS, TABLES
from mlx_model.errors import ConfigError

# Sections that are taken over as they are; `*_conf` of the components among them.
KEPT = (
    "model_conf", "encoder_conf", "decoder_conf", "predictor_conf", "frontend_conf", "normalize", "normalize_conf",
    "specaug", "specaug_conf", "ctc_conf", "input_size", "token_list", "bpemodel", "cmvn_file", "init_param",
)  # fmt: skip
RENAMED = {"vad_post_conf": "model_conf"}  # the decision's options stood in a section of their own
# Parts that a Paraformer of today does not have; an old file may name them only as null.
MUST_BE_NULL = ("preencoder", "postencoder")


def is_espnet_style(raw: dict[str, Any]) -> bool:
    """Return whether a config.yaml is one of the old files, by the way it names its model."""
    model = raw.get("model")
    return (isinstance(model, str) and model in ESPNET_MODELS) or ("token_type" in raw and "tokenizer" not in raw)


def translate(raw: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Return the same model in today's layout; what belonged to the training command line is named in `notes`.

    Raises:
        ConfigError: a part that was removed from FunASR since.
    """
    for key in MUST_BE_NULL:
        if raw.get(key) is not None:
            raise ConfigError(f"config.yaml: {key} = {raw[key]!r} is not supported (only null)")
    modern: dict[str, Any] = {RENAMED.get(key, key): raw[key] for key in (*KEPT, *RENAMED) if key in raw}
    modern["model"] = ESPNET_MODELS.get(str(raw.get("model")), raw.get("model"))
    family = next((item for item in TABLES if item.funasr_class == modern["model"]), None)
    for section, classes in (family.components if family is not None else {}).items():
        names = {old: new for new, old in classes.items()}
        modern[section] = names.get(str(raw.get(section)), raw.get(section))
    kind = raw.get("token_type", "char")
    tokenizers = {"char": "CharTokenizer", "bpe": "SentencepiecesTokenizer"}
    if kind not in tokenizers:
        raise ConfigError(f"config.yaml: token_type = {kind!r} is not supported (only {' or '.join(tokenizers)})")
    modern["tokenizer"] = tokenizers[kind]
    modern["tokenizer_conf"] = {"split_with_space": bool(raw.get("split_with_space", False))}
    left = sorted(set(raw) - set(KEPT) - set(RENAMED) - set(MUST_BE_NULL) - {"model", "token_type", "split_with_space"}
                  - set(family.components if family is not None else ()))  # fmt: skip
    ignored = f"; {len(left)} keys of its command line were ignored ({', '.join(left[:6])}{', ...' * (len(left) > 6)})"
    notes.append(f"config.yaml is in the old ESPnet style: translated{ignored if left else ''}")
    return modern
