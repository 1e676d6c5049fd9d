"""Hub ids against local stand-ins, through the real client libraries, in processes of their own (they read their
endpoints when they are imported). Oracle: the files that the stand-in serves, and its log of what was asked for.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_model import torch_shapes, write_model

from convert.hub import HubReference, no_id, parse
from mlx_model.errors import UsageError

HERE = Path(__file__).parent
SCRIPT = """
import json, sys, convert
from mlx_model.errors import MlxFunasrError
for job in json.loads(sys.argv[1]):
    try:
        report = convert.convert(job.pop("src"), job.pop("out"), **job)
        print(json.dumps({"tensors": len(report.tensors), "notes": report.notes, **report.options}), flush=True)
    except MlxFunasrError as error:
        print(json.dumps({"error": type(error).__name__, "text": str(error)}), flush=True)
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("iic/some-model_1.0", ("ms", "iic/some-model_1.0", None)),
        ("damo/x@v2.0.4", ("ms", "damo/x", "v2.0.4")),
        ("hf:funasr/paraformer-zh", ("hf", "funasr/paraformer-zh", None)),
        ("hf:funasr/paraformer-zh@main", ("hf", "funasr/paraformer-zh", "main")),
        ("ms:a/b", ("ms", "a/b", None)),
        ("hf:iic/emotion2vec", ("hf", "iic/emotion2vec", None)),
    ],
)
def test_ids(text, expected):
    hub, name, revision = expected
    assert parse(text) == HubReference(hub=hub, name=name, revision=revision)


@pytest.mark.parametrize(
    "text", ["a/b/c", "/a/b", "./a/b", "plain", "hf:plain", "a/../b", "", "a/b@", "iic/x y", "https://a/b"]
)
def test_what_is_no_id(text):
    assert parse(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fsmn-vad", ("ms", "iic/speech_fsmn_vad_zh-cn-16k-common-pytorch", "master", "fsmn-vad")),
        ("ms:cam++", ("ms", "iic/speech_campplus_sv_zh-cn_16k-common", "master", "cam++")),
        ("hf:paraformer-zh", ("hf", "funasr/paraformer-zh", None, "paraformer-zh")),
        ("fsmn-vad@v2.0.4", ("ms", "iic/speech_fsmn_vad_zh-cn-16k-common-pytorch", "v2.0.4", "fsmn-vad")),
        (
            "hf:iic/emotion2vec_plus_base",
            ("hf", "emotion2vec/emotion2vec_plus_base", None, "iic/emotion2vec_plus_base"),
        ),
    ],
)
def test_short_names_are_funasrs(text, expected):
    hub, name, revision, short = expected
    assert parse(text) == HubReference(hub=hub, name=name, revision=revision, short=short)


def test_a_name_that_is_nearly_one_is_told():
    assert no_id("hf:fsmnvad").endswith("did you mean 'fsmn-vad'?")
    assert "did you mean" not in no_id("checkpoints/mine")


def test_revisions():
    assert parse("iic/x", "v1") == parse("iic/x@v1") == HubReference(hub="ms", name="iic/x", revision="v1")
    with pytest.raises(UsageError, match="give one of them"):
        parse("iic/x@v1", "v2")


def test_a_mistyped_path_does_not_become_a_question_for_the_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    assert parse("checkpoints/paraformer") is None


@pytest.fixture(scope="module")
def repositories(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("hub")
    for revision in ("main", "master", "v2"):
        folder = write_model(root / "iic" / "tiny" / revision)
        (folder / "am.mvn").rename(folder / "renamed.mvn")
        metas = {
            "init_param": "model.safetensors",
            "config": "config.yaml",
            "tokenizer_conf": {"token_list": "tokens.json"},
            "frontend_conf": {"cmvn_file": "renamed.mvn"},
        }
        (folder / "configuration.json").write_text(json.dumps({"file_path_metas": metas}), "utf-8")
        (folder / "LICENSE").write_text(f"licence of {revision}", "utf-8")
        (folder / "model.py").write_text("raise SystemExit('remote code ran')", "utf-8")
        (folder / "optimizer.bin").write_bytes(b"x" * 100)
    return root


class Hub:
    """A stand-in that runs, and a way to run jobs against it, or against nothing at all."""

    def __init__(self, root: Path, home: Path):
        self.home = home
        self.log = home / "requests.log"
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "hub_standin.py"), str(root)],
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
            )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def run(self, *jobs: dict, port: int | None = None, **extra: str) -> list[dict]:
        url = f"http://127.0.0.1:{port or self.port}"
        environment = {
            **os.environ,
            "HF_ENDPOINT": url,
            "MODELSCOPE_ENDPOINT": url,
            "HOME": str(self.home),
            "HF_HOME": str(self.home / "hf"),
            "MODELSCOPE_CACHE": str(self.home / "ms"),
            **extra,
        }
        found = subprocess.run(
            [sys.executable, "-c", SCRIPT, json.dumps(jobs)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert found.returncode == 0, found.stderr
        assert found.stderr == ""  # quiet in a pipe
        return [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]

    def requests(self) -> str:
        return self.log.read_text("utf-8")


@pytest.fixture
def hub(repositories, tmp_path):
    standin = Hub(repositories, tmp_path)
    yield standin
    standin.process.terminate()
    standin.process.wait()
    standin.process.stdout.close()


@pytest.mark.skipif(importlib.util.find_spec("huggingface_hub") is None, reason="huggingface_hub is not installed")
def test_hugging_face_pinned_missing_and_offline(hub, tmp_path):
    jobs = [
        {"src": "hf:iic/tiny", "out": str(tmp_path / "a")},
        {"src": "hf:iic/tiny@v2", "out": str(tmp_path / "b")},
        {"src": "hf:iic/none", "out": str(tmp_path / "c")},
        {"src": "hf:iic/tiny@v9", "out": str(tmp_path / "c")},
    ]
    first, second, none, revision = hub.run(*jobs)
    assert first["tensors"] == second["tensors"] == len(torch_shapes())
    assert len(first["revision"]) == 40  # a branch is pinned to its commit
    assert first["revision"] != second["revision"]
    assert (tmp_path / "b" / "LICENSE").read_text("utf-8") == "licence of v2"
    assert "huggingface.co/iic/tiny" in (tmp_path / "b" / "README.md").read_text("utf-8")
    assert none["text"].startswith("Hugging Face has no model iic/none")
    assert "no model iic/tiny at revision 'v9'" in revision["text"]
    assert "model.py" not in hub.requests()  # only what is needed is fetched
    assert "optimizer.bin" not in hub.requests()

    offline = [{**jobs[0], "out": str(tmp_path / "d")}, {"src": "hf:iic/other", "out": str(tmp_path / "e")}]
    cached, unknown = hub.run(*offline, port=9, HF_HUB_OFFLINE="1")
    assert cached["tensors"] == len(torch_shapes())
    assert "is not in the local cache of Hugging Face" in unknown["text"]
    assert not (tmp_path / "e").exists()


@pytest.mark.skipif(
    importlib.util.find_spec("modelscope_hub") is None, reason="modelscope (1.38 or later) is not installed"
)
def test_modelscope_pinned_missing_and_offline(hub, tmp_path):
    jobs = [
        {"src": "iic/tiny", "out": str(tmp_path / "a")},
        {"src": "iic/tiny", "out": str(tmp_path / "b"), "revision": "v2"},
        {"src": "iic/none", "out": str(tmp_path / "c")},
        {"src": str(tmp_path / "run" / "model.safetensors"), "out": str(tmp_path / "f"), "base": "iic/tiny"},
    ]
    for path in write_model(tmp_path / "run").iterdir():
        if path.name != "model.safetensors":
            path.unlink()
    first, second, none, trained = hub.run(*jobs)
    assert first["tensors"] == second["tensors"] == trained["tensors"] == len(torch_shapes())
    assert (trained["base"], second["revision"]) == ("iic/tiny", "v2")
    assert "cmvn_file: renamed.mvn of iic/tiny (--base)" in trained["notes"]
    assert (tmp_path / "a" / "LICENSE").read_text("utf-8") == "licence of master"
    assert (tmp_path / "b" / "LICENSE").read_text("utf-8") == "licence of v2"
    assert none["text"].startswith("ModelScope has no model iic/none")
    assert "model.py" not in hub.requests().replace("repo/files", "")
    assert "optimizer.bin" not in hub.requests()

    offline = [{**jobs[0], "out": str(tmp_path / "d")}, {"src": "iic/other", "out": str(tmp_path / "e")}]
    cached, unknown = hub.run(*offline, port=9, HF_HUB_OFFLINE="1")
    assert cached["tensors"] == len(torch_shapes())
    assert "ModelScope was not reached; iic/tiny is the copy in its local cache" in cached["notes"]
    assert "is not in the local cache of ModelScope" in unknown["text"]


def test_a_missing_client_library_names_the_extra(tmp_path):
    code = "import sys; sys.modules['modelscope'] = sys.modules['huggingface_hub'] = None\n" + SCRIPT
    jobs = [{"src": "iic/x", "out": str(tmp_path / "a")}, {"src": "hf:a/b", "out": str(tmp_path / "a")}]
    found = subprocess.run(
        [sys.executable, "-c", code, json.dumps(jobs)], capture_output=True, text=True, timeout=60, check=True
    )
    assert len(found.stdout.splitlines()) == 2
    for line in found.stdout.splitlines():
        assert json.loads(line)["error"] == "DependencyError"
        assert "mlx-funasr[hub]" in json.loads(line)["text"]
