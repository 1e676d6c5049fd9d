"""config.yaml -> the family's configuration, and the vocabulary: tokens.json, tokens.txt, an inline list or bpe.model.

Imports neither torch nor mlx; sentencepiece only inside the function that reads a bpe.model.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

from convert.architectures import Family
from convert.espnet import is_espnet_style, translate
from convert.sources import Source
from convert.yaml_file import read_text
from mlx_model.config.parts import TokenizerConfig
from mlx_model.config.sections import ModelConfig, Parts, Section
from mlx_model.errors import AssetError, ConfigError, DependencyError

TOKENS_LIMIT = 32_000_000  # bytes; the largest released list (272,727 entries) has 3 MB
TOKENIZERS = ("CharTokenizer", "SentencepiecesTokenizer")

# Tokenizer options that act when text becomes tokens, which transcription never does; file names are sources.py's.
TOKENIZER_UNUSED = (
    "split_with_space", "non_linguistic_symbols", "remove_non_linguistic_symbols", "seg_dict", "seg_dict_file",
    "token_list", "bpemodel",
)  # fmt: skip
TOP_LEVEL_FILES = ("token_list", "bpemodel", "cmvn_file", "init_param", "input_size", "vocab_size")
TOP_LEVEL_TRAINING = (
    "specaug", "specaug_conf", "train_conf", "optim", "optim_conf", "scheduler", "scheduler_conf", "dataset",
    "dataset_conf", "ctc", "ctc_conf", "normalize", "normalize_conf",
)  # fmt: skip


def read_config(source: Source, family: Family, vocab_size: int | None, dtype: str) -> ModelConfig:
    """Return the model's configuration; keys that were set aside are named in `source.notes`.

    Raises:
        ConfigError: an unknown key, or an option that is not supported.
    """
    raw = modern(source)
    components = {key: _component(raw, key, classes) for key, classes in family.components.items()}
    _check_top_level(raw, family, source.notes)
    arguments = _model_arguments(raw, family, source)
    sections = {key: dict(_section(raw, f"{key}_conf")) for key in components}
    if "frontend" in sections:
        sections["frontend"].pop("cmvn_file", None)
        sections["frontend"]["cmvn"] = source.cmvn is not None
    where = source.config.name
    parsed: dict[str, Any] = {
        key: family.config.SECTIONS[key].from_dict(value, f"{where}: {key}_conf") for key, value in sections.items()
    }
    for key, value in sections.items():
        _note_training_only(f"{key}_conf", value, parsed[key], source.notes)
    dither = parsed["frontend"].dither if "frontend" in parsed else 0.0
    if dither:
        source.notes.append(f"frontend dither is {dither:g} in FunASR (random noise); mlx-funasr runs with 0")
    tokenizer = _tokenizer(raw) if family.has_tokens else None
    config = family.config.assemble(
        Parts(
            components=components, sections=parsed, arguments=arguments, vocab_size=vocab_size, tokenizer=tokenizer,
            dtype=dtype, threshold=_threshold(source),
        )
    )  # fmt: skip
    config.check_parts(where)
    return config


def _threshold(source: Source) -> float | None:
    """Return what configuration.json states for decisions, None where it states nothing of use."""
    model = source.document.get("model")
    found = model.get("yesOrno_thr") if isinstance(model, dict) else None
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not -1 <= found <= 1:
        return None
    return float(found)


def modern(source: Source) -> dict[str, Any]:
    """Return config.yaml in today's layout (old ESPnet-style files are translated)."""
    return translate(source.raw, source.notes) if is_espnet_style(source.raw) else source.raw


def _section(raw: dict[str, Any], key: str) -> dict[str, Any]:
    value = raw.get(key)
    if value is not None and not isinstance(value, dict):
        raise ConfigError(f"config.yaml: {key} is a {type(value).__name__}, expected key: value pairs")
    return value or {}


def _component(raw: dict[str, Any], key: str, classes: dict[str, str]) -> str:
    found = raw.get(key)
    if found is None:
        raise ConfigError(f"config.yaml has no `{key}:`; expected {' or '.join(classes)}")
    if not isinstance(found, str) or found not in classes:
        raise ConfigError(f"config.yaml: {key} {found!r} is not supported (only {' or '.join(classes)})")
    return found


def _check_top_level(raw: dict[str, Any], family: Family, notes: list[str]) -> None:
    if raw.get("normalize") is not None:
        raise ConfigError(f"config.yaml: normalize = {raw['normalize']!r} is not supported (only null)")
    read = {"model", "model_conf", "tokenizer", "tokenizer_conf", *family.components}
    read |= {f"{key}_conf" for key in family.components} | family.config.ARGUMENTS.known()
    known = read | set(TOP_LEVEL_FILES) | set(TOP_LEVEL_TRAINING) | set(family.config.ARGUMENTS.TRAINING_ONLY)
    unknown = [key for key in raw if key not in known]
    for key in unknown:
        close = difflib.get_close_matches(key, sorted(read), n=1, cutoff=0.85)
        if close:
            raise ConfigError(f"config.yaml: unknown key {key!r}; did you mean {close[0]!r}?")
    training = [key for key in raw if key in TOP_LEVEL_TRAINING and raw[key]]
    if training:
        notes.append(f"config.yaml: ignored, training only: {', '.join(training)}")
    if unknown:
        notes.append(f"config.yaml: ignored, not read by {family.funasr_class}: {', '.join(sorted(unknown))}")


def _model_arguments(raw: dict[str, Any], family: Family, source: Source) -> Section:
    """Return the arguments of the model class; FunASR lets a top-level key win over model_conf."""
    arguments = family.config.ARGUMENTS
    section = _section(raw, "model_conf")
    merged = {**section, **{key: raw[key] for key in raw if key in arguments.known()}}
    parsed = arguments.from_dict(merged, f"{source.config.name}: model_conf")
    _note_training_only("model_conf", section, parsed, source.notes)
    return parsed


def _note_training_only(where: str, given: dict[str, Any], parsed: Section, notes: list[str]) -> None:
    known = parsed.to_dict()
    reasons: dict[str, list[str]] = {}
    for key in given:
        if key not in known and key in parsed.TRAINING_ONLY:
            reasons.setdefault(parsed.TRAINING_ONLY[key], []).append(key)
    notes.extend(f"{where}: ignored {', '.join(keys)} ({reason})" for reason, keys in reasons.items())


def _tokenizer(raw: dict[str, Any]) -> TokenizerConfig:
    kind = raw.get("tokenizer", "CharTokenizer")
    if kind not in TOKENIZERS:
        raise ConfigError(f"config.yaml: tokenizer {kind!r} is not supported (only {' or '.join(TOKENIZERS)})")
    section = {key: value for key, value in _section(raw, "tokenizer_conf").items() if key not in TOKENIZER_UNUSED}
    return TokenizerConfig.from_dict({"kind": kind, **section}, "tokenizer_conf")


def read_tokens(source: Source) -> list[str]:
    """Return the vocabulary in id order.

    Raises:
        AssetError: no vocabulary, not a list of distinct strings, or without the unknown symbol.
        DependencyError: only a bpe.model is there, and sentencepiece is not installed.
    """
    raw = source.raw
    inline = raw.get("token_list") if isinstance(raw.get("token_list"), list) else None
    if source.tokens is not None:
        tokens = _checked(_token_file(source.tokens), str(source.tokens), raw)
        if inline is not None and inline != tokens:
            source.notes.append(f"the token_list inside config.yaml differs from {source.tokens.name}, which was used")
        return tokens
    if inline is not None:
        where = "config.yaml: token_list (the model's tokens.json beside it would be used instead)"
        return _checked(inline, where, raw)
    if source.bpe_model is not None:
        return sentencepiece_pieces(source.bpe_model)
    raise AssetError(f"{source.directory} has no tokens.json (the vocabulary); it stands beside config.yaml")


def _token_file(path: Path) -> Any:
    text = read_text(path, TOKENS_LIMIT, AssetError)
    if path.suffix != ".json":
        return [line.rstrip() for line in text.removesuffix("\n").split("\n")]  # as FunASR reads it
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise AssetError(f"{path} is not JSON: {error}") from error


def _checked(tokens: Any, where: str, raw: dict[str, Any]) -> list[str]:
    if not isinstance(tokens, list) or not tokens:
        raise AssetError(f"{where}: expected a list of tokens, found {type(tokens).__name__}")
    seen: dict[str, int] = {}
    for index, token in enumerate(tokens):
        if not isinstance(token, str):
            raise AssetError(f"{where}: entry {index} is {token!r}, expected text")
        if token in seen:
            raise AssetError(f"{where}: token {token!r} stands there twice, as {seen[token]} and {index}")
        seen[token] = index
    section = raw.get("tokenizer_conf")
    unknown = section.get("unk_symbol", "<unk>") if isinstance(section, dict) else "<unk>"
    if not isinstance(unknown, str):
        raise ConfigError(f"tokenizer_conf: unk_symbol = {unknown!r} must be of type str")
    if raw.get("tokenizer", "CharTokenizer") == "CharTokenizer" and unknown not in seen:
        raise AssetError(f"{where}: the unknown symbol {unknown!r} is not among its {len(tokens)} tokens")
    return tokens


def sentencepiece_pieces(path: Path) -> list[str]:
    """Return the pieces of a SentencePiece model in id order."""
    try:
        import sentencepiece
    except ImportError as error:
        raise DependencyError(f"reading {path.name} needs sentencepiece: pip install 'mlx-funasr[bpe]'") from error
    if path.stat().st_size > TOKENS_LIMIT:
        raise AssetError(f"{path} is larger than {TOKENS_LIMIT} bytes; not a SentencePiece model of a recogniser")
    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(path.read_bytes())
    except RuntimeError as error:
        raise AssetError(f"{path} is not a SentencePiece model: {error}") from error
    return [str(processor.IdToPiece(index)) for index in range(processor.GetPieceSize())]
