"""A conversion and its proof to a repository on Hugging Face, in one commit, through huggingface_hub.

Everything that can be refused is refused before anything is sent: MODEL's files are hashed again, the reports must be
about them. Endpoint, token and transport (HF_ENDPOINT, HF_TOKEN, Xet, ...) are the library's own. Only files that the
conversion wrote are sent, whatever else lies beside them.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convert import markup, output
from convert.architectures import TABLES
from convert.card import precision_of, suggested_repository
from convert.proof import Proof, attached, proof_files, read_proof
from convert.verify_conversion import read_conversion, wrong_files
from mlx_model.errors import DependencyError, UsageError
from mlx_model.files.hub import client_errors
from reports.environment import PROOF
from reports.schema import ConversionReport

REVISION = re.compile(r"[A-Za-z0-9][\w.-]{0,99}(/[\w.-]{1,99})*")
# What an earlier upload may have left that would be loaded, or believed, beside what is sent now.
STALE = re.compile(rf"{PROOF}/.*|[^/]*\.safetensors|model\.safetensors\.index\.json|recipe\.json")
OPTIONAL = ("recipe.json",)  # written beside a conversion after its conversion.json
LOGIN = "make one with write access at https://huggingface.co/settings/tokens and run `hf auth login`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """Where a conversion is now: repository, branch, commit, page, and the files that were sent."""

    repository: str
    revision: str
    commit: str
    url: str
    files: list[str]


def parse_repository(text: str, suggestion: str = "mlx-community/NAME-fp16") -> str:
    """Return ORG/NAME of a repository on Hugging Face, an optional `hf:` taken off.

    Raises:
        UsageError: it is none, or on ModelScope.
    """
    if text.startswith("ms:"):
        raise UsageError(
            f"{text}: upload sends to Hugging Face only; for ModelScope use its own client: `modelscope upload`"
        )
    name = text.removeprefix("hf:")
    if not markup.is_hub_id(name):
        raise UsageError(
            f"{text!r} is no repository; expected ORG/NAME on Hugging Face (letters, digits, '.', '_', '-'), "
            f"for example {suggestion}"
        )
    return name


def check_access(repo: str, revision: str | None = None) -> str:
    """Return the repository's name, if it is one and somebody is logged in; sends nothing but the token.

    Raises:
        UsageError: no repository, no branch's name, no token, a token that is not valid, or no network.
        DependencyError: huggingface_hub is not installed.
    """
    name = parse_repository(repo)
    if revision is not None and (not REVISION.fullmatch(revision) or ".." in revision):
        raise UsageError(f"{revision!r} is no branch's name; leave --revision out for main")
    library = _library()
    with _explained(name):
        if not library.get_token():
            raise UsageError(f"uploading to {name} needs a Hugging Face token; {LOGIN}")
        library.HfApi().whoami()
    return name


def upload(
    model: str | os.PathLike[str],
    repo: str,
    *,
    parity: str | os.PathLike[str] | None = None,
    cer: str | os.PathLike[str] | None = None,
    private: bool = False,
    revision: str | None = None,
) -> Uploaded:
    """Send a conversion to a repository on Hugging Face, made where there is none, in one commit.

    Args:
        model: a directory that `convert` or `quantize` wrote.
        repo: ORG/NAME, with or without `hf:`.
        parity: the --out of a parity run of this very conversion that passed.
        cer: the --out of a `cer` run of it; its rate goes into the card's front matter.
        private: make the repository a private one, if it is made here.
        revision: a branch to commit to, made where there is none; main by default.

    Raises:
        UsageError: MODEL is no whole conversion, a report is not about it or did not pass, no token, no network.
        DependencyError: huggingface_hub is not installed.
    """
    folder = Path(model)
    report = read_conversion(folder)
    parse_repository(repo, suggested_repository(report.name or report.source, precision_of(report.config)))
    files = pack(folder, report, read_proof(folder, parity, cer))
    name = check_access(repo, revision)
    library, branch = _library(), revision or "main"
    additions = [
        library.CommitOperationAdd(path, str(content) if isinstance(content, Path) else content)
        for path, content in sorted(files.items())
    ]
    precision = precision_of(report.config)
    message = f"{markup.plain(report.name or name)} in MLX, {precision}, converted by mlx-funasr"
    with _explained(name):
        api = library.HfApi()
        api.create_repo(name, private=private or None, exist_ok=True)
        if branch != "main":
            api.create_branch(name, branch=branch, exist_ok=True)
        there = api.list_repo_files(name, revision=branch)
        stale = [library.CommitOperationDelete(path) for path in there if STALE.fullmatch(path) and path not in files]
        operations = [*additions, *stale]
        made = api.create_commit(name, operations=operations, commit_message=message, revision=branch)
        url = f"{api.endpoint}/{name}"
        return Uploaded(repository=name, revision=branch, commit=made.oid, url=url, files=sorted(files))


def pack(model: Path, report: ConversionReport, proof: Proof) -> dict[str, Path | bytes]:
    """Return what is sent of a conversion, by path in the repository: its files, its card with the proof, the proof.

    Raises:
        UsageError: it has lost or changed a file, or was written before files were hashed.
    """
    if not report.output_sha256:
        raise UsageError(f"{model}/{output.MARKER} holds no sha256 of the files; convert again with this version")
    if wrong := wrong_files(model, report):
        raise UsageError(f"{model} is not as it was written ({wrong[0]}); convert again, or see `mlx-funasr verify`")
    files: dict[str, Path | bytes] = {name: model / name for name in report.output_sha256}
    files |= {name: model / name for name in (output.MARKER, *OPTIONAL) if (model / name).is_file()}
    family = next(item for item in TABLES if item.name == report.family)
    try:
        card = (model / "README.md").read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{model}/README.md, the model card, cannot be read: {error}") from error
    if proof.reports:
        card = attached(card, proof, name=report.name, task=family.task)
    return {**files, "README.md": card.encode(), **proof_files(proof)}


def _library() -> Any:
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # read at the import: no bars in a pipe
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise DependencyError("upload needs huggingface_hub: pip install 'mlx-funasr[hub]'") from error


@contextmanager
def _explained(repo: str) -> Iterator[None]:
    """Turn what huggingface_hub raises into one line; its warnings about a card's fields are for its authors."""
    errors = importlib.import_module("huggingface_hub.errors")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except errors.HfHubHTTPError as error:
        raise UsageError(_refused(repo, error)) from error
    except (*client_errors(), OSError) as error:
        raise UsageError(f"Hugging Face was not reached ({_brief(error)}); {repo} is as it was, try again") from error
    except (ValueError, RuntimeError) as error:  # RuntimeError: what hf_xet, which is written in Rust, raises
        raise UsageError(f"Hugging Face did not take it: {_brief(error)}; {repo} is as it was") from error


def _refused(repo: str, error: Any) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return f"Hugging Face does not know this token; {LOGIN}"
    if status == 403:
        return f"this token may not write to {repo}; choose a repository of yours, or {LOGIN}"
    return f"Hugging Face refused the upload to {repo} ({_brief(error)}); nothing was committed"


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
