"""The conversion from end to end: resolve, plan, write, verify, quantise, install. Called through convert/__init__.py.

Imports no torch, and mlx only where the target model is laid out.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from convert import output, quantize
from convert.card import copy_attribution, model_card, precision_of
from convert.dtypes import cast, check_target
from convert.packing import packings_of
from convert.planning import Plan, hashes, make_plan, report
from convert.safetensors_file import SafetensorsReader, SafetensorsWriter, TensorInfo, shards
from convert.sources import resolve
from convert.verify import verify
from convert.weight_map import Assignment
from mlx_model.config.sections import INT8
from mlx_model.errors import UsageError
from mlx_model.files.destination import staged, sync_file
from mlx_model.text import jieba_words, seg_dict
from mlx_model.text.seg_dict import SegDict
from reports.environment import file_sha256, project_version
from reports.schema import ConversionReport, write
from reports.writing import write_json, write_text

SHARD_BYTES = 5_000_000_000  # Hugging Face's customary limit
WEIGHTS = "model.safetensors"


def inspect(src: str | os.PathLike[str], **which: Any) -> ConversionReport:
    """Return what a conversion would do; see convert.inspect. `which` is what `resolve` takes."""
    plan = make_plan(resolve(src, **which), "float32")
    plan.checkpoint.check()
    return report(plan, output_path=None, options={}, sha256=hashes(plan))


def convert(
    src: str | os.PathLike[str],
    out: Path,
    *,
    dtype: str,
    bits: int | None,
    group_size: int,
    int8: bool,
    overwrite: bool,
    **which: Any,
) -> ConversionReport:
    """Convert; see convert.convert. `which` is what `resolve` takes."""
    check_target(dtype)
    quantize.check_options(bits, group_size, int8=int8)
    given = Path(src)
    output.check_target(out, given if os.path.exists(given) else None, overwrite=overwrite)
    with staged(out, overwrite=overwrite) as stage, ThreadPoolExecutor(2) as background:
        source = resolve(src, **which)
        output.check_apart(out, source.directory)
        plan = make_plan(source, dtype)
        size = sum(info.nbytes for info in plan.infos)
        output.check_space(out, size * 2 if bits or int8 else size)
        options = {
            "dtype": dtype, "bits": bits, "group_size": group_size if bits else None, "int8": int8,
            "revision": source.revision, "checkpoint": source.checkpoint, "base": source.base,
        }  # fmt: skip
        return _fill(stage, plan, background, out, options)


def _fill(stage: Path, plan: Plan, background: Executor, out: Path, options: dict[str, Any]) -> ConversionReport:
    """Write everything into `stage`; what need not be waited for (it releases the GIL) rides along in `background`."""
    settings = quantization_of(options)
    hashed = background.submit(hashes, plan)
    files = write_weights(plan, stage)
    flushed = {path.name: background.submit(_flush, path) for path in files}
    checked = background.submit(plan.checkpoint.check)  # tensors that were dropped, what was not read
    verify(files, plan.assignments, plan.checkpoint, plan.cmvn)
    checked.result()
    written = {name: future.result() for name, future in flushed.items()}
    quantization = None if settings is None else _quantize(plan, stage, files, settings)
    result = report(plan, output_path=out, options=options, sha256=hashed.result(), quantization=quantization)
    return _write_sidecars(plan, stage, result, written if quantization is None else {})


def _flush(path: Path) -> str:
    """Force a file's data to the disk and return its sha256; both ride along with the comparison."""
    sync_file(path)
    return file_sha256(path)


def write_weights(plan: Plan, stage: Path) -> list[Path]:
    """Stream the tensors into `stage`, one at a time, and return the files written."""
    groups = list(shards(plan.infos, SHARD_BYTES))
    files = [stage / name for name in shard_names(len(groups))]
    by_target = {item.target: item for item in plan.assignments if item.target is not None}
    for path, group in zip(files, groups, strict=True):
        with SafetensorsWriter(path, group, {"format": "mlx"}) as writer:
            for info in writer.order:
                _write_tensor(plan, writer, info, by_target.get(info.name))
    return files


def _write_tensor(plan: Plan, writer: SafetensorsWriter, info: TensorInfo, item: Assignment | None) -> None:
    if item is None:
        writer.write(info.name, plan.cmvn[info.name])
        return
    dtype = plan.checkpoint.infos[item.source].dtype
    writer.write(info.name, item.op.apply(cast(plan.checkpoint.read(item.source), dtype, info.dtype, item.source)))
    plan.checkpoint.release(item.source)


def shard_names(count: int) -> list[str]:
    """Return the file names of a model in `count` parts, in Hugging Face's manner."""
    if count == 1:
        return [WEIGHTS]
    return [f"model-{index:05}-of-{count:05}.safetensors" for index in range(1, count + 1)]


def name_parts(files: Sequence[Path]) -> None:
    """Give a model's files the names they are loaded by, with Hugging Face's index where there are several."""
    for path, name in zip(files, shard_names(len(files)), strict=True):
        path.rename(path.with_name(name))
    _write_index(files[0].parent)


def quantization_of(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return config.json's `quantization` but for the modules, of what a conversion was asked for."""
    if options["int8"]:
        return {"mode": INT8}
    return {"bits": options["bits"], "group_size": options["group_size"]} if options["bits"] else None


def _quantize(plan: Plan, stage: Path, files: Sequence[Path], settings: Mapping[str, Any]) -> dict[str, Any]:
    [packing] = packings_of({**settings, "modules": [""]}).values()
    modules, kept = quantize.choose_modules(plan.model, plan.family, packing, dtype=plan.config.dtype)
    if not modules:
        raise UsageError(f"no linear layer gets smaller with {packing.words}; nothing to quantise")
    made = quantize.quantize_files(files, stage, dict.fromkeys(modules, packing), limit=SHARD_BYTES)
    for path in files:
        path.unlink()
    name_parts(made)
    plan.source.notes.append(f"quantised {len(modules)} linear layers to {packing.words}")
    reasons = sorted(set(kept.values()))
    for reason in reasons:
        names = sorted(name for name, why in kept.items() if why == reason)
        plan.source.notes.append(f"not quantised: {', '.join(names[:6])}{', ...' if len(names) > 6 else ''} ({reason})")
    return {**settings, "modules": modules}


def _write_sidecars(plan: Plan, stage: Path, result: ConversionReport, known: Mapping[str, str]) -> ConversionReport:
    """Write everything beside the weights and return the report with its files' sha256, some of which are `known`."""
    if plan.tokens is not None:
        write_json(stage / "tokens.json", plan.tokens)
    if plan.tokens is not None and plan.source.bpe_model is not None:
        shutil.copyfile(plan.source.bpe_model, stage / "bpe.model")  # to cut a text into pieces again
    if plan.tokens is not None and plan.source.seg_dict is not None:
        _ = SegDict(plan.source.seg_dict).words  # raises where it is none
        shutil.copyfile(plan.source.seg_dict, stage / seg_dict.FILE)  # to write hotwords and texts in tokens
    if plan.tokens is not None and plan.source.jieba_usr_dict is not None:
        shutil.copyfile(plan.source.jieba_usr_dict, stage / jieba_words.FILE)  # to split texts into words
    _write_index(stage)
    copied = copy_attribution(plan.source, stage)
    card = model_card(
        plan.source, family=plan.family, parameters=result.converted_parameters, precision=precision_of(result.config),
        copied=copied, version=project_version() or "(development)",
    )  # fmt: skip
    write_text(stage / "README.md", card)
    return write_last(stage, result, known)


def write_last(stage: Path, result: ConversionReport, known: Mapping[str, str] | None = None) -> ConversionReport:
    """Write conversion.json, and then config.json, without which nothing loads; return the report as it was written.

    Args:
        stage: a directory that holds every other file of the conversion.
        result: the report, whose `output_sha256` is filled here.
        known: the sha256 of files that were hashed before.
    """
    waiting = write_json(stage / "config.json.waiting", result.config)
    digests = {"config.json": file_sha256(waiting)}
    for path in stage.iterdir():
        if path != waiting and path.name != "README.md":
            digests[path.name] = (known or {}).get(path.name) or file_sha256(path)
    result = dataclasses.replace(result, output_sha256=dict(sorted(digests.items())))
    write(result, stage / output.MARKER)
    waiting.rename(stage / "config.json")
    return result


def _write_index(stage: Path) -> None:
    """Write Hugging Face's index where the weights are in several files."""
    files = sorted(stage.glob("model-*.safetensors"))
    if not files:
        return
    readers = [SafetensorsReader(path) for path in files]
    weight_map = {name: reader.path.name for reader in readers for name in reader.infos}
    total = sum(info.nbytes for reader in readers for info in reader.infos.values())
    write_json(stage / f"{WEIGHTS}.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})
