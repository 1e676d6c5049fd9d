"""Opens a converted directory: config.json, model.safetensors (or its shards), tokens.json -> a model ready to run.

Not called load.py: a submodule of that name would take the place of the function `mlx_model.load` once imported.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from mlx_model import engines
from mlx_model.config import config_class
from mlx_model.config.sections import INT8, ModelConfig
from mlx_model.errors import CheckpointError, ConfigError, UsageError
from mlx_model.families import FAMILIES, module_of
from mlx_model.machine.blas import mx, nn, tree_flatten, tree_unflatten
from mlx_model.machine.safetensors import map_tensors
from mlx_model.parts.int8 import Int8Linear
from mlx_model.pipelines.methods import with_methods
from mlx_model.roles import Detector, Embedder, Punctuator, Recognizer, check_role
from mlx_model.text import seg_dict

if TYPE_CHECKING:
    from mlx_model.pipelines.auto import Pipeline

R = TypeVar("R")


def load(path: str | Path) -> Any:
    """Return the `Model` of a converted directory, weights checked name by name and shape by shape, in eval mode.

    Where the CPU engine computes (`engines.fit`), linear layers' weights are mapped and not read; they can be, but in
    this thread alone. All others are read at once, and any thread may use them and call the model.

    Raises:
        ConfigError: no config.json, or one this version cannot read.
        CheckpointError: weights missing, surplus, misshapen or truncated.
        AssetError: tokens.json missing or malformed, where the family has a vocabulary.
    """
    directory = Path(path)
    model = unread(directory)
    _fill(model, read_weights(directory), directory)
    model.eval()
    return model


def unread(directory: Path) -> Any:
    """Return the `Model` of a converted directory with its vocabulary and without its weights: it can say, not compute.

    Raises:
        ConfigError, AssetError: see `load`.
    """
    model = unfilled(config_of(directory))
    if hasattr(model, "set_tokens"):
        model.set_tokens(directory / "tokens.json")
        words = directory / seg_dict.FILE
        model.seg_dict = seg_dict.SegDict(words) if words.is_file() else None
    return model


def config_of(directory: Path) -> ModelConfig:
    """Return the configuration of a converted directory.

    Raises:
        ConfigError: no config.json, or one this version cannot read.
    """
    return config_class(family_of(directory)).from_dict(read_config(directory), f"{directory}/config.json")


def family_of(directory: Path) -> str:
    """Return the family of a converted directory, its model_type.

    Raises:
        ConfigError: no config.json, or one of no family that there is.
    """
    family = read_config(directory).get("model_type")
    if not isinstance(family, str) or family not in FAMILIES:
        raise ConfigError(f"{directory}/config.json: model_type {family!r} is not one of {', '.join(FAMILIES)}")
    return family


@functools.cache
def model_class(family: str) -> type[Any]:
    """Return the `Model` of a family, with the methods of the roles that it fulfils (pipelines/methods.py)."""
    return with_methods(module_of("mlx_model.models", family).Model)


def unfilled(config: ModelConfig) -> Any:
    """Return a `Model` of this configuration, the layers it names quantised, for weights to be put in."""
    model = model_class(config.model_type)(config)
    if config.quantization is not None:
        _quantize(model, config.quantization)
    return model


def load_as(path: str | Path, role: type[R]) -> R:
    """Return the model of a directory, which fulfils a role (roles.py); see `load`.

    Raises:
        UsageError: the model is of another kind; says so in one line that names the command that fits.
    """
    directory = Path(path)
    family = family_of(directory)
    check_role(model_class(family), role, path, family)
    return load(directory)


def pipeline(
    model: str | Path | Recognizer,
    *,
    vad: str | Path | Detector | None = None,
    punc: str | Path | Punctuator | None = None,
    speakers: str | Path | Embedder | None = None,
) -> Pipeline:
    """Return FunASR's `AutoModel(model, vad_model, punc_model, spk_model)` of converted directories, or loaded models.

    `pipeline(...).transcribe(audio)` gives Transcripts, `pipeline(...).generate(input)` FunASR's dictionaries.

    Raises:
        UsageError: a model of another kind, models of different sample rates, speakers without a VAD.
    """
    from mlx_model.pipelines.auto import Pipeline

    given = ((model, Recognizer, "model"), (vad, Detector, "vad"), (punc, Punctuator, "punc"))
    opened = [_opened(one, role, name) for one, role, name in (*given, (speakers, Embedder, "speakers"))]
    return Pipeline(*opened)


def _opened(given: Any, role: type[Any], name: str) -> Any:
    if given is None or not isinstance(given, (str, Path)):
        return given
    try:
        return load_as(given, role)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error


def read_config(directory: Path) -> dict[str, Any]:
    """Return config.json of a converted directory.

    Raises:
        ConfigError: the directory or the file is missing, or is not JSON.
    """
    path = directory / "config.json"
    if not directory.is_dir():
        raise ConfigError(f"{directory}: no such directory; MODEL is what `mlx-funasr convert SRC MODEL` wrote")
    if not path.is_file():
        source = (directory / "config.yaml").is_file()
        hint = (
            "this is a FunASR directory: convert it first" if source else "it was not written by `mlx-funasr convert`"
        )
        raise ConfigError(f"{directory}: no config.json; {hint}")
    try:
        settings = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: expected key: value pairs, found {type(settings).__name__}")
    return settings


def weight_files(directory: Path) -> list[Path]:
    """Return model.safetensors, or the shards its index names (plain file names only).

    Raises:
        CheckpointError: a file is missing, the index is none, or a name points elsewhere.
    """
    index = directory / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.is_file():
        try:
            names = sorted({str(name) for name in json.loads(index.read_text("utf-8"))["weight_map"].values()})
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{index}: not an index of weight files ({error}); convert the source again"
            ) from error
        if any(Path(name).name != name for name in names):
            raise CheckpointError(f"{index}: a shard's name points outside the directory")
    paths = [directory / name for name in names]
    for path in paths:
        if not path.is_file():
            raise CheckpointError(f"{path}: missing; convert the source again")
    return paths


def read_weights(directory: Path) -> dict[str, mx.array]:
    """Return all tensors of a directory's files; MLX reads each when it is first used.

    Raises:
        CheckpointError: a file is missing or is not safetensors.
    """
    weights: dict[str, mx.array] = {}
    for path in weight_files(directory):
        try:
            with _standard_descriptors():
                weights.update(mx.load(str(path)))  # pyright: ignore[reportArgumentType, reportCallIssue]
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{path}: not a whole safetensors file ({error}); convert the source again"
            ) from error
    return weights


@contextmanager
def _standard_descriptors() -> Iterator[None]:
    """See to it that descriptors 0, 1 and 2 are taken: MLX holds a file that got 0 for one that could not be opened.

    They are free where the caller closed them (`<&-`).
    """
    held: list[int] = []
    try:
        while not held or held[-1] < 2:
            held.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)


def _quantize(model: nn.Module, settings: dict[str, Any]) -> None:
    """Turn the listed layers into their quantised form, so that packed weights fit."""
    modules, layers = settings["modules"], dict(model.named_modules())
    for name in modules:
        if not hasattr(layers.get(name), "to_quantized"):
            raise ConfigError(f"config.json: quantization: modules: {name!r} is no linear layer of this model")
    if settings.get("mode") == INT8:
        put(model, {name: Int8Linear.unfilled(layers[name]) for name in modules})
        return
    group_size = settings["group_size"]
    bits_of = modules if isinstance(modules, dict) else dict.fromkeys(modules, settings["bits"])
    nn.quantize(
        model,
        class_predicate=lambda name, module: (
            {"group_size": group_size, "bits": bits_of[name]} if name in bits_of else False
        ),
    )


def put(model: nn.Module, layers: Mapping[str, nn.Module]) -> None:
    """Put layers in the places of those of these names."""
    model.update_modules(tree_unflatten(list(layers.items())))  # pyright: ignore[reportArgumentType]


def _fill(model: nn.Module, weights: dict[str, mx.array], directory: Path) -> None:
    """Set every parameter exactly once; MLX's own strict check speaks of a bare ValueError.

    And read them, but for what the CPU engine maps: MLX would put that off to their first use, which may be in another
    thread, and it lets only the thread that asked for an array compute it. In one go it is also faster (full size:
    1.9 s, not 2.5 s).
    """
    expected = dict(tree_flatten(model.parameters()))
    for kind, names in (("missing", expected.keys() - weights.keys()), ("surplus", weights.keys() - expected.keys())):
        if names:
            raise CheckpointError(f"{directory}: {len(names)} tensors {kind}, the first {min(names)!r}; convert again")
    for name, value in weights.items():
        if value.shape != expected[name].shape:
            raise CheckpointError(f"{directory}: {name} has shape {value.shape}, expected {expected[name].shape}")
    model.load_weights(list(weights.items()))
    mapped = _mapped(engines.mappable(model), directory)
    mx.eval([value for name, value in weights.items() if name not in mapped])
    engines.fit(model, mapped)


def _mapped(names: set[str], directory: Path) -> dict[str, np.ndarray]:
    """Return the weights that an engine computes with as they lie in their files."""
    arrays: dict[str, np.ndarray] = {}
    for path in weight_files(directory) if names else ():
        arrays |= map_tensors(path, names)
    return arrays
