"""Uploads to a local stand-in of Hugging Face, through its real client (without Xet, which has no HTTP of its own), in
processes of their own: the client reads its endpoint when it is imported. Oracle: the files that arrive there.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from test_proof import cer_report, parity_report
from tiny_model import write_model

import convert
from convert.proof import Proof
from convert.upload import check_access, pack, parse_repository, upload
from convert.verify_conversion import read_conversion
from mlx_model.errors import DependencyError, UsageError
from reports import schema
from reports.environment import directory_sha256
from tests import forked
from tests.conftest import ROOT

HERE = Path(__file__).parent
INSTALLED = pytest.mark.skipif(
    importlib.util.find_spec("huggingface_hub") is None, reason="huggingface_hub is not installed (extra hub)"
)
SCRIPT = """
import dataclasses, json, os, sys
from convert.upload import check_access, upload
from convert.verify_conversion import verify_conversion
from mlx_model.errors import MlxFunasrError
for job in json.loads(sys.argv[1]):
    os.environ["HF_TOKEN"] = job.pop("token", "hf_standin")
    call = {"upload": upload, "verify": verify_conversion, "access": check_access}[job.pop("call")]
    try:
        done = call(**job)
        done = {"verdict": done.verdict, **dataclasses.asdict(done)} if call is verify_conversion else done
        print(json.dumps(dataclasses.asdict(done) if call is upload else done), flush=True)
    except MlxFunasrError as error:
        print(json.dumps({"error": type(error).__name__, "text": str(error)}), flush=True)
"""


class Hub:
    """A stand-in that runs, and a way to run jobs against it, or against nothing at all."""

    def __init__(self, home: Path):
        self.home, self.root, self.log = home, home / "served", home / "requests.log"
        self.root.mkdir()
        with self.log.open("wb") as stream:
            command = [sys.executable, str(HERE / "hub_standin.py"), str(self.root)]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stream, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def run(self, *jobs: dict, port: int | None = None, **extra: str) -> list[dict]:
        hub = {"HF_ENDPOINT": f"http://127.0.0.1:{port or self.port}", "HF_HUB_DISABLE_XET": "1"}
        home = {"HOME": str(self.home), "HF_HOME": str(self.home / "hf")}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, json.dumps(jobs)],
            env={**os.environ, **hub, **home, **extra}, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")  # quiet in a pipe
        return [json.loads(line) for line in done.stdout.splitlines()]

    def files(self, repository: str) -> set[str]:
        folder = self.root / repository
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def hub(tmp_path) -> Iterator[Hub]:
    standin = Hub(tmp_path)
    yield standin
    standin.process.terminate()
    standin.process.wait()
    assert standin.process.stdout is not None
    standin.process.stdout.close()


@pytest.fixture
def model(tmp_path) -> Path:
    """A conversion with files beside it that it did not write."""
    source = write_model(tmp_path / "tiny")
    (source / "LICENSE").write_text("be kind", "utf-8")
    convert.convert(source, tmp_path / "out")
    (tmp_path / "out" / "diary.txt").write_text("private", "utf-8")
    (tmp_path / "out" / ".env").write_text("SECRET=1", "utf-8")
    return tmp_path / "out"


OURS = {"README.md", "LICENSE", "config.json", "conversion.json", "model.safetensors", "tokens.json"}


@INSTALLED
def test_a_conversion_its_proof_and_its_way_back(hub, model, tmp_path):
    digest = directory_sha256(model)
    schema.write(parity_report(model_sha256=digest), tmp_path / "proof" / "parity.json")
    schema.write(cer_report(model_sha256=digest), tmp_path / "cer" / "cer.json")
    whole = {"call": "upload", "model": str(model), "repo": "hf:someone/tiny-fp32"}
    proof = {"parity": str(tmp_path / "proof"), "cer": str(tmp_path / "cer")}
    sent, back, compared = hub.run(
        {**whole, **proof, "private": True},
        {"call": "verify", "model": "someone/tiny-fp32"},
        {"call": "verify", "model": "someone/tiny-fp32", "source": str(tmp_path / "tiny")},
    )
    attached = {f"proof/{name}.{kind}" for name in ("parity", "cer") for kind in ("json", "html")}
    assert set(sent["files"]) == OURS | attached
    assert hub.files("someone/tiny-fp32/main") == OURS | attached | {".gitattributes"}
    assert (hub.root / "someone/tiny-fp32.private").exists()
    served = hub.root / "someone/tiny-fp32/main"
    for name in OURS - {"README.md"}:
        assert (served / name).read_bytes() == (model / name).read_bytes()
    card = (served / "README.md").read_text("utf-8")
    assert yaml.safe_load(card.split("---\n")[1])["model-index"][0]["name"] == "tiny"
    assert "[report](proof/parity.html)" in card
    assert "## Proof" not in (model / "README.md").read_text("utf-8")  # what lies here is left as it is
    log = (hub.root / "someone/tiny-fp32/commits.log").read_text("utf-8")
    assert log == "tiny in MLX, float32, converted by mlx-funasr\n"  # one commit
    assert [check["status"] for check in back["checks"]] == ["pass", "pass", "skipped"]  # the path was on our disk
    assert [check["status"] for check in compared["checks"]] == ["pass"] * 4


@INSTALLED
def test_a_second_upload_leaves_nothing_of_the_first_that_would_be_loaded_or_believed(hub, model):
    first = hub.root / "someone/tiny/main"
    (first / "proof").mkdir(parents=True)
    for name in ("model-00001-of-00002.safetensors", "proof/parity.json", "recipe.json", "NOTES.md"):
        (first / name).write_text("old", "utf-8")
    upload_it = {"call": "upload", "model": str(model), "repo": "someone/tiny"}
    sent, branched, checked = hub.run(
        upload_it, {**upload_it, "revision": "v2"}, {"call": "verify", "model": "someone/tiny", "revision": "v2"}
    )
    assert hub.files("someone/tiny/main") == OURS | {"NOTES.md"}
    assert hub.files("someone/tiny/v2") == OURS | {"NOTES.md"}
    assert (sent["revision"], branched["revision"], checked["verdict"]) == ("main", "v2", "pass")


@INSTALLED
def test_refusals_are_one_line_and_send_nothing(hub, model, tmp_path):
    job = {"call": "upload", "model": str(model), "repo": "someone/tiny"}
    none, unknown, forbidden, branch = hub.run(
        {**job, "token": ""},
        {**job, "token": "hf_wrong"},
        {**job, "repo": "forbidden/tiny"},
        {**job, "revision": "a b"},
    )
    assert "run `hf auth login`" in none["text"]
    assert "does not know this token" in unknown["text"]
    assert "may not write to forbidden/tiny" in forbidden["text"]
    assert "no branch's name" in branch["text"]
    (unreached,) = hub.run(job, port=9)
    assert unreached["text"].startswith("Hugging Face was not reached (")
    (offline,) = hub.run(job, HF_HUB_OFFLINE="1")
    assert offline["text"].startswith("Hugging Face was not reached (")
    for refused in (none, unknown, forbidden, branch, unreached, offline):
        assert refused["error"] == "UsageError"
        assert "\n" not in refused["text"]
    assert list(hub.root.iterdir()) == []
    assert "commit" not in hub.log.read_text("utf-8")


@INSTALLED
def test_a_card_that_the_hub_refuses_and_a_repository_that_is_no_conversion(hub, model, tmp_path):
    card = (model / "README.md").read_text("utf-8").replace("library_name: mlx", "base_model_relation: cousin")
    (model / "README.md").write_text(card, "utf-8")
    (hub.root / "someone/other/main").mkdir(parents=True)
    (hub.root / "someone/other/main/config.json").write_text("{}", "utf-8")
    refused, other, none = hub.run(
        {"call": "upload", "model": str(model), "repo": "someone/tiny"},
        {"call": "verify", "model": "someone/other"},
        {"call": "verify", "model": "someone/none"},
    )
    assert "Invalid metadata in README.md. - base_model_relation" in refused["text"]
    assert "the repository holds no conversion.json" in other["text"]
    assert none["text"].startswith("Hugging Face has no model someone/none")


def test_repositories():
    assert parse_repository("mlx-community/x-fp16") == parse_repository("hf:mlx-community/x-fp16")
    with pytest.raises(UsageError, match="modelscope upload"):
        parse_repository("ms:iic/x")
    for wrong in (
        "x",
        "a/b/c",
        "/tmp/x",
        "a b/c",
        "",
        "hf:",
        "https://huggingface.co/a/b",
        "a/b@main",
        "a/" + "x" * 200,
    ):
        with pytest.raises(UsageError, match="expected ORG/NAME"):
            parse_repository(wrong)


def test_what_is_not_whole_is_not_sent(model, tmp_path):
    report = read_conversion(model)
    assert set(pack(model, report, Proof(files={}))) == OURS
    (model / "tokens.json").write_text("[]", "utf-8")
    with pytest.raises(UsageError, match=r"not as it was written \(tokens.json has sha256"):
        upload(model, "someone/x")
    with pytest.raises(UsageError, match="is no conversion of ours"):
        upload(tmp_path / "tiny", "someone/x")
    with pytest.raises(UsageError, match="mlx-community/tiny-fp32"):
        upload(model, "x")


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DependencyError, match=r"mlx-funasr\[hub\]"):
        check_access("someone/x")


@INSTALLED
def test_convert_uploads_what_it_made_and_looks_at_the_repository_first(hub, model, tmp_path):
    def command(*words: str, token: str = "hf_standin") -> subprocess.CompletedProcess[str]:
        given = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.port}", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": token}
        return subprocess.run(
            [forked.python("command"), str(ROOT / "mlx_funasr.py"), *words],
            env={**os.environ, **given, "HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf")},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    source, out = str(tmp_path / "tiny"), str(tmp_path / "shared")
    refused = command("convert", source, out, "--upload", "someone/made", token="hf_wrong")
    assert (refused.returncode, refused.stdout, Path(out).exists()) == (2, "", False)
    done = command("convert", source, out, "--dtype", "float16", "--upload", "someone/made", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["options"]["dtype"] == "float16"
    assert f"Uploaded: http://127.0.0.1:{hub.port}/someone/made" in done.stderr
    assert hub.files("someone/made/main") == OURS | {".gitattributes"}

    sent = json.loads(command("upload", out, "someone/again", "--json").stdout)
    assert (sent["schema"], sent["repository"]) == ("upload/1", "someone/again")
    (Path(out) / "tokens.json").write_text("[]", "utf-8")
    checked = command("verify", out)
    assert checked.returncode == 1
    assert checked.stdout.startswith("fail    files of the conversion: tokens.json has sha256 ")
    assert json.loads(command("verify", "someone/again", "--json").stdout)["verdict"] == "pass"
    assert command("verify", source).returncode == 2
