"""A directory that FunASR itself can open, for whatever `convert` takes: the reference must see the very same model.

A plain model directory is given as it is. A trainer's folder with a chosen checkpoint, files named by absolute paths,
an old layout, interpolations, a download: a temporary directory of links under the names that FunASR looks for, and a
config.yaml without what is no longer needed. Imports neither torch nor mlx.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from convert.assets import modern
from convert.espnet import is_espnet_style
from convert.named_files import flat_metas, stays_inside
from convert.sources import Source, read_configuration, resolve
from convert.yaml_file import YAML_LIMIT, load_yaml, read_text
from mlx_model.errors import ConfigError
from mlx_model.files.funasr_directory import CONFIG, check_source, existing
from mlx_model.files.scratch import scratch

# Files that FunASR finds by these names beside config.yaml; the keys that would name others are dropped.
NAMED = ("cmvn_file", "token_list", "bpemodel", "seg_dict", "seg_dict_file", "init_param", "model_path",
         "jieba_usr_dict")  # fmt: skip


@contextlib.contextmanager
def opened(
    src: str | os.PathLike[str],
    *,
    revision: str | None = None,
    checkpoint: str | None = None,
    base: str | os.PathLike[str] | None = None,
    tell: Callable[[str], object] = lambda note: None,
) -> Iterator[Path]:
    """The directory to give to FunASR's AutoModel for `src`; arguments and errors are those of `convert.convert`.

    `tell` is called with each note about where files were taken from.
    """
    path = existing(os.fspath(src))
    if path is not None and checkpoint is None and base is None and revision is None and is_plain(path):
        yield path
        return
    source = resolve(src, revision=revision, checkpoint=checkpoint, base=base)
    for note in source.notes:
        tell(note)
    with scratch("source") as folder:
        directory = folder / (source.directory.resolve().name or "model")
        directory.mkdir()
        lay_out(source, directory)
        yield directory


def is_plain(path: Path) -> bool:
    """Return whether FunASR opens this directory as it stands, with the weights that `convert` would take.

    Raises:
        UsageError, ConfigError: it is no source at all.
    """
    if not path.is_dir() or not (path / CONFIG).is_file():
        return False
    check_source(str(path))
    metas = flat_metas(read_configuration(path))
    weights = path / str(metas.get("init_param", "model.pt"))
    if metas.get("config", CONFIG) != CONFIG or not weights.is_file() or not stays_inside(weights, path):
        return False
    if "${" in read_text(path / CONFIG, YAML_LIMIT, ConfigError):
        return False
    raw = load_yaml(path / CONFIG)
    if is_espnet_style(raw) or ("init_param" in raw and "init_param" not in metas):
        return False
    sections = (raw, raw.get("tokenizer_conf"), raw.get("frontend_conf"))
    named = [section.get(key) for section in sections if isinstance(section, dict) for key in NAMED]
    return not any(isinstance(value, str) and os.path.isabs(value) for value in named)


def lay_out(source: Source, directory: Path) -> None:
    """Fill an empty directory with links to the files of a source, and the configuration that goes with them."""
    raw = json.loads(json.dumps(modern(source)))
    sections = [raw, *(raw.setdefault(key, {}) for key in ("tokenizer_conf", "frontend_conf"))]
    inline = raw.get("token_list")
    for section in sections:
        for key in NAMED:
            if isinstance(section, dict):
                section.pop(key, None)
    if source.cmvn is None and isinstance(raw["frontend_conf"], dict):
        raw["frontend_conf"]["cmvn_file"] = None
    tokens = "tokens.json" if source.tokens is None or source.tokens.suffix == ".json" else "tokens.txt"
    if source.tokens is None and isinstance(inline, list):
        (directory / tokens).write_text(json.dumps(inline, ensure_ascii=False), "utf-8")
    links: dict[str, Any] = {
        "model.pt": source.weights, "am.mvn": source.cmvn, tokens: source.tokens, "bpe.model": source.bpe_model,
        "seg_dict": source.seg_dict, "jieba_usr_dict": source.jieba_usr_dict,
    }  # fmt: skip
    for name, target in links.items():
        if target is not None:
            (directory / name).symlink_to(target.resolve())
    if source.jieba_usr_dict is not None:
        raw["jieba_usr_dict"] = str(directory / "jieba_usr_dict")  # FunASR looks for no such name by itself
    # JSON is YAML in which every text has quotes: OmegaConf would take a bare 1e-3 for a number.
    (directory / CONFIG).write_text(json.dumps(raw, ensure_ascii=False), "utf-8")
