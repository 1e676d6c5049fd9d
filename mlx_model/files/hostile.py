"""What in a model's configuration FunASR would run as code, or fetch and run: refused by name before anything opens it.

FunASR 1.4.16 evaluates some values with Python's `eval`, imports modules that a configuration names, and builds further
models from wherever one points. Conversion runs none of this, and refuses it all the same, so that a directory that
was converted may be opened by FunASR (parity, cer, bench). Stdlib only; takes a parsed configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mlx_model.errors import ConfigError

# Keys at any depth whose text FunASR hands to `eval` (models/emotion2vec/audio.py, data2vec/data2vec_encoder.py).
# Released models write `[(512, 10, 5)] + [(512, 3, 2)] * 4` there; such sums of lists of numbers alone are accepted.
EVALUATED = ("feature_encoder_spec", "conv_feature_layers")
LISTS = re.compile(r"(?:[\s\d,()\[+]|\](?:\s*\*\s*\d{1,2}(?!\s*[\d*]))?)*")  # no `**`, no product of products
RESOLVED = re.compile(r"\$\{\s*[\w.]+\s*:")  # an interpolation that calls something, and the one kind that is harmless
PLAIN = re.compile(r"\$\{\s*oc\.(?:select|deprecated)\s*:[\w\s.,+-]*\}")
LONGEST = 1000  # characters of such a text
# Top-level keys that make FunASR import Python, or install packages, that a model brings or names.
CODE = {
    "trust_remote_code": "FunASR would import Python files, and install packages, that the model brings",
    "remote_code": "FunASR would import this Python file",
}
# Top-level keys that make FunASR build another model, unchecked, from wherever the value points.
MODELS = ("vad_model", "punc_model", "spk_model", "vad_kwargs", "punc_kwargs", "spk_kwargs")
# Classes that load their model with trust_remote_code=True, whatever the configuration says, or through torch.hub.
CLASSES = re.compile(
    r"(?:Qwen/)?Qwen-?Audio(?:-?Chat)?(?:Warp)?|GLMASR|.*/GLM-ASR-.*|(?:OpenMOSS-Team/)?MOSS-Transcribe-Diarize"
)
FRONTENDS = ("s3prl", "S3prlFrontend")
# Top-level options that FunASR takes as addresses to fetch from.
FETCHED = ("hotword", "hotword_list_or_file")


def refuse_code(config: dict[str, Any], where: str) -> None:
    """Raise ConfigError where FunASR would run code for the sake of this configuration; `where` names its file.

    Args:
        config: config.yaml, parsed and its interpolations resolved; or the file names of configuration.json, which
            FunASR lays over it.
        where: the file, for the message.
    """
    for key, reason in CODE.items():
        if config.get(key):
            raise _refused(where, key, config[key], reason)
    for key in MODELS:
        if config.get(key):
            raise _refused(where, key, config[key], "FunASR would build another model from there, unchecked")
    for key in FETCHED:
        if isinstance(config.get(key), str) and config[key].lstrip().lower().startswith(("http:", "https:")):
            raise _refused(where, key, config[key], "FunASR would fetch this address")
    if CLASSES.fullmatch(str(config.get("model"))):
        reason = "FunASR runs Python files of the model's repository for this class (trust_remote_code)"
        raise _refused(where, "model", config["model"], reason)
    if config.get("frontend") in FRONTENDS:
        raise _refused(where, "frontend", config["frontend"], "FunASR runs a local hubconf.py for this class")
    for key, value in _leaves(config):
        if key in EVALUATED and value is not None and not _is_lists(value):
            reason = "FunASR hands this text to Python's eval; only lists of numbers are accepted"
            raise _refused(where, key, value, reason)
        if isinstance(value, str) and any(not PLAIN.match(value, at.start()) for at in RESOLVED.finditer(value)):
            raise _refused(where, key, value, "OmegaConf would read the environment, or make further options of a text")


def _is_lists(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST and LISTS.fullmatch(value) is not None


def _leaves(item: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key with its value, at any depth; what stands in a list has the list's key."""
    waiting: list[tuple[str, Any]] = [("", item)]
    seen: set[int] = set()  # YAML's aliases: the same section in many places
    while waiting:
        key, found = waiting.pop()
        yield key, found
        if isinstance(found, (dict, list)) and id(found) not in seen:
            seen.add(id(found))
            pairs = found.items() if isinstance(found, dict) else ((key, entry) for entry in found)
            waiting.extend((str(name), value) for name, value in pairs)


def _refused(where: str, key: str, value: Any, reason: str) -> ConfigError:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return ConfigError(f"{where}: {key} = {shown} is refused: {reason}. Remove it if you trust the model without it")
