"""The model card and the licence files that travel with a conversion. Stdlib and PyYAML only.

FunASR's model licence asks that source and author be attributed and the model's name be kept; so the card names the
source as it calls itself, and its licence files and its own README are copied beside the weights.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from convert.architectures import Family
from convert.sources import Source, stays_inside

LICENCE_FILE = re.compile(
    r"(?i)^(model[_-]?)?(licen[cs]e|notice|copying|copyright)([._-].*)?$|^.*[_-]licen[cs]e(\.(txt|md))?$"
)
COPY_LIMIT = 1_000_000  # bytes of one licence or README
SOURCE_README = "README.source.md"
FUNASR_LICENCE = "https://github.com/modelscope/FunASR/blob/main/MODEL_LICENSE"


def copy_attribution(source: Source, out: Path) -> list[str]:
    """Copy licence files and the source's README into `out`; return their names there."""
    copied = []
    for path in sorted(source.directory.iterdir()):
        if not path.is_file() or path.stat().st_size > COPY_LIMIT or not stays_inside(path, source.directory):
            continue
        if LICENCE_FILE.match(path.name):
            shutil.copyfile(path, out / path.name)
            copied.append(path.name)
        elif path.name.lower() == "readme.md":
            shutil.copyfile(path, out / SOURCE_README)
            copied.append(SOURCE_README)
    return copied


def model_card(
    source: Source, *, family: Family, parameters: int, precision: str, copied: list[str], version: str
) -> str:
    """Return README.md in mlx-community's manner: front matter, origin, use, licence."""
    front = _front_matter(source, family, precision)
    header = yaml.safe_dump(front, sort_keys=False, allow_unicode=True).strip()
    licences = [name for name in copied if name != SOURCE_README]
    return "\n".join(
        [
            f"---\n{header}\n---\n",
            f"# {source.name}\n",
            f"This model was converted to MLX format from {_origin(source)} with "
            f"[mlx-funasr](https://pypi.org/project/mlx-funasr/) {version}. "
            f"It is a FunASR `{family.funasr_class}` with {parameters:,} parameters, stored in {precision}. "
            + (f"The original model card is [{SOURCE_README}]({SOURCE_README})." if SOURCE_README in copied else ""),
            "\n## Use\n",
            f"```bash\npip install mlx-funasr\nmlx-funasr {family.usage.command} . speech.wav\n```\n",
            f'```python\nimport mlx_model\n\nmodel = mlx_model.load(".")\nprint({family.usage.python})\n```\n',
            "## Provenance\n",
            "`conversion.json` holds the sha256 of every source file, the options, and the fate of every tensor. "
            "The weights were read back and compared bit for bit with the source.\n",
            "## Licence and attribution\n",
            _licence_text(source, licences),
            "",
        ]
    )


def _front_matter(source: Source, family: Family, precision: str) -> dict[str, Any]:
    original = _source_front_matter(source)
    front: dict[str, Any] = {"library_name": "mlx", "pipeline_tag": family.task}
    front["license"] = "unknown"
    if _is_funasr_release(source):
        front |= {"license": "other", "license_name": "funasr-model-license", "license_link": FUNASR_LICENCE}
    front |= {key: original[key] for key in ("license", "license_name", "license_link", "language") if key in original}
    front["base_model"] = source.name
    front["tags"] = ["mlx", "funasr", family.usage.tag, precision]
    return front


def _is_funasr_release(source: Source) -> bool:
    return source.name.lower().startswith(("iic/", "damo/", "funasr/", "funaudiollm/"))


def _source_front_matter(source: Source) -> dict[str, Any]:
    path = source.directory / "README.md"
    if not path.is_file() or path.stat().st_size > COPY_LIMIT:
        return {}
    parts = path.read_text("utf-8", errors="replace").split("---\n", 2)
    if len(parts) < 3 or parts[0].strip() or "*" in parts[1]:  # no front matter, or one with YAML aliases
        return {}
    try:
        found = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return {}
    if not isinstance(found, dict):
        return {}
    simple = {key: value for key, value in found.items() if isinstance(value, str)}
    languages = found.get("language")
    if isinstance(languages, list) and all(isinstance(item, str) for item in languages):
        return {**simple, "language": languages}
    return simple


def _origin(source: Source) -> str:
    name = source.name
    if source.named.startswith("hf:"):
        link = f"[{name}](https://huggingface.co/{name})"
    elif re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        link = f"[{name}](https://modelscope.cn/models/{name})"
    else:
        link = f"`{name}`"
    return f"{link} (revision {source.revision})" if source.revision else link


def _licence_text(source: Source, licences: list[str]) -> str:
    kept = ", ".join(f"[{name}]({name})" for name in licences)
    where = f"The source's licence is kept beside the weights: {kept}." if licences else (
        "The source directory held no licence file; its licence applies to this copy all the same."
    )  # fmt: skip
    return (
        f"{where} Source and author: `{source.name}`, a model in the format of "
        "[FunASR](https://github.com/modelscope/FunASR) (Alibaba Group). Models released by FunASR are under the "
        f"[FunASR Model License]({FUNASR_LICENCE}): keep this attribution and the model's name when you share it."
    )
