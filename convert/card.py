"""The model card and the licence files that travel with a conversion. Stdlib and PyYAML only.

FunASR's model licence asks that source and author be attributed and the model's name be kept; so the card names the
source as it calls itself, and its licence files and its own README are copied beside the weights. Whatever comes from
the source goes through markup.py. What was measured later is added by proof.py.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from convert import markup
from convert.architectures import Family
from convert.sources import Source, stays_inside

LICENCE_FILE = re.compile(
    r"(?i)^(model[_-]?)?(licen[cs]e|notice|copying|copyright)([._-].*)?$|^.*[_-]licen[cs]e(\.(txt|md))?$"
)
COPY_LIMIT = 1_000_000  # bytes of one licence or README
SOURCE_README = "README.source.md"
FUNASR_LICENCE = "https://github.com/modelscope/FunASR/blob/main/MODEL_LICENSE"
# What of the source's own front matter is taken over, and the form without which it is not.
TAKEN_OVER = {
    "license": re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,60}"),
    "license_name": re.compile(r"[A-Za-z0-9][A-Za-z0-9 .+-]{0,80}"),
    "license_link": re.compile(r"https?://[^\s<>\"'`\\()\[\]]{1,300}|[\w.-]{1,100}"),
    "language": re.compile(r"[A-Za-z]{2,12}(-[A-Za-z0-9]{1,8}){0,3}"),
}
WORDED = {"apache license 2.0": "apache-2.0", "mit license": "mit"}  # as ModelScope's READMEs say it
SHORT = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}  # as mlx-community's names end


def copy_attribution(source: Source, out: Path) -> list[str]:
    """Copy licence files and the source's README into `out`; return their names there."""
    copied = []
    for path in sorted(source.directory.iterdir()):
        if not path.is_file() or path.stat().st_size > COPY_LIMIT or not stays_inside(path, source.directory):
            continue
        if LICENCE_FILE.match(path.name):
            name = markup.file_name(path.name)
            while (out / name).exists():  # two names that differ only in what was replaced
                name += "_"
            shutil.copyfile(path, out / name)
            copied.append(name)
        elif path.name.lower() == "readme.md":
            shutil.copyfile(path, out / SOURCE_README)
            copied.append(SOURCE_README)
    return copied


def precision_of(config: Mapping[str, Any]) -> str:
    """Return what a conversion's config.json says about its precision: float32, int8, 8-bit, "4 to 8 bit", ..."""
    settings = config.get("quantization")
    if not settings:
        return str(config["dtype"])
    if "mode" in settings:
        return str(settings["mode"])
    modules = settings["modules"]
    bits = sorted(set(modules.values())) if isinstance(modules, dict) else [settings["bits"]]
    return f"{bits[0]}-bit" if len(bits) == 1 else f"{bits[0]} to {bits[-1]} bit"


def suggested_repository(name: str, precision: str) -> str:
    """Return the name that mlx-community would give a conversion: mlx-community/NAME-fp16, -8bit, ..."""
    ending = SHORT.get(precision) or precision.replace("-bit", "bit").replace(" to ", "-").replace(" ", "")
    return f"mlx-community/{markup.repository_part(name)}-{ending}"


def model_card(
    source: Source, *, family: Family, parameters: int, precision: str, copied: list[str], version: str
) -> str:
    """Return README.md in mlx-community's manner: front matter, origin, use, licence."""
    licences = [name for name in copied if name != SOURCE_README]
    readme = f"The original model card is {markup.link(SOURCE_README, SOURCE_README)}."
    return "\n".join(
        [
            front_matter(_front_matter(source, family, precision)),
            f"# {markup.text(source.name)} (MLX, {precision})\n",
            f"This model was converted to MLX format from {_origin(source)} with "
            f"[mlx-funasr](https://pypi.org/project/mlx-funasr/) {version}. "
            f"It is a FunASR `{family.funasr_class}` with {parameters:,} parameters, stored in {precision}. "
            + (readme if SOURCE_README in copied else ""),
            "\n## Use\n",
            "```bash\npip install 'mlx-funasr[cpu]'\n"
            f"mlx-funasr {family.usage.command} . {family.usage.given}{family.usage.more}\n```\n",
            f'```python\nimport mlx_model\n\nmodel = mlx_model.load(".")\nprint({family.usage.python})\n```\n',
            "## Provenance\n",
            "`conversion.json` holds the sha256 of every source file and of every file here, the options, and the fate "
            "of every tensor. The weights were read back and compared bit for bit with the source; "
            "`mlx-funasr verify . --source SOURCE` does it again.\n",
            "## Licence and attribution\n",
            _licence_text(source, licences),
            "",
        ]
    )


def front_matter(fields: Mapping[str, Any]) -> str:
    """Return a card's first lines; nothing in `fields` can end them early, as YAML indents what it continues."""
    header = yaml.safe_dump(dict(fields), sort_keys=False, allow_unicode=True, width=1000).strip()
    return f"---\n{header}\n---\n"


def parts(card: str) -> tuple[dict[str, Any], str]:
    """Return a card's front matter and what follows it; a card that its owner wrote without one has none."""
    found = re.match(r"---\n(.*?\n)---\n", card, flags=re.DOTALL)
    try:
        fields = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        fields = None
    return (fields, card[found.end() :]) if found and isinstance(fields, dict) else ({}, card)


def with_precision(card: str, before: str, after: str) -> str:
    """Return the card of a conversion that was quantised from one whose card this was."""
    fields, body = parts(card)
    if isinstance(tags := fields.get("tags"), list):
        fields["tags"] = [after if tag == before else tag for tag in tags]
    for place in ("(MLX, {})\n", "stored in {}. "):
        body = body.replace(place.format(before), place.format(after), 1)
    return front_matter(fields) + body if fields else body


def _front_matter(source: Source, family: Family, precision: str) -> dict[str, Any]:
    front: dict[str, Any] = {"library_name": "mlx", "pipeline_tag": family.task, "license": "unknown"}
    if _is_funasr_release(source):
        front |= {"license": "other", "license_name": "funasr-model-license", "license_link": FUNASR_LICENCE}
    stated = _source_front_matter(source)
    if "license" in stated:
        front = {key: value for key, value in front.items() if not key.startswith("license_")}
    front |= stated
    if markup.is_hub_id(source.name):
        # Of the hub's four relations (adapter, merge, quantized, finetune) this is the one for the same weights in
        # another format: GGUF files of full precision stand there too. Left out, the hub would infer "finetune".
        front |= {"base_model": source.name, "base_model_relation": "quantized"}
    front["tags"] = ["mlx", "funasr", family.usage.tag, precision]
    return front


def _is_funasr_release(source: Source) -> bool:
    released = ("iic/", "damo/", "funasr/", "funaudiollm/")
    return markup.is_hub_id(source.name) and source.name.lower().startswith(released)


def _source_front_matter(source: Source) -> dict[str, Any]:
    """Return the licence and the languages that the source's own README states, where they look like some."""
    path = source.directory / "README.md"
    if not path.is_file() or path.stat().st_size > COPY_LIMIT:
        return {}
    parts = path.read_text("utf-8", errors="replace").split("---\n", 2)
    if len(parts) < 3 or parts[0].strip() or "*" in parts[1]:  # no front matter, or one with YAML aliases
        return {}
    try:
        found = yaml.safe_load(parts[1])
    except (yaml.YAMLError, RecursionError, ValueError):  # ValueError: a date that is none
        return {}
    if not isinstance(found, dict):
        return {}
    if isinstance(stated := found.get("license"), str):
        found["license"] = WORDED.get(stated.strip().lower(), stated)
    return {key: found[key] for key, form in TAKEN_OVER.items() if _fits(found.get(key), form, lists=key == "language")}


def _fits(value: Any, form: re.Pattern[str], *, lists: bool) -> bool:
    values = value if lists and isinstance(value, list) else [value]
    return bool(values) and all(isinstance(item, str) and form.fullmatch(item) for item in values)


def _origin(source: Source) -> str:
    name = source.name
    if not markup.is_hub_id(name):
        shown = markup.text(name)
    elif source.named.startswith("hf:"):
        shown = markup.link(name, f"https://huggingface.co/{name}")
    else:
        shown = markup.link(name, f"https://modelscope.cn/models/{name}")
    return f"{shown} (revision {markup.text(source.revision)})" if source.revision else shown


def _licence_text(source: Source, licences: list[str]) -> str:
    kept = ", ".join(markup.link(name, name) for name in licences)
    where = f"The source's licence is kept beside the weights: {kept}." if licences else (
        "The source directory held no licence file; its licence applies to this copy all the same."
    )  # fmt: skip
    return (
        f"{where} Source and author: {markup.text(source.name)}, a model in the format of "
        "[FunASR](https://github.com/modelscope/FunASR) (Alibaba Group). Models released by FunASR are under the "
        f"[FunASR Model License]({FUNASR_LICENCE}): keep this attribution and the model's name when you share it."
    )
