"""Data sets on hubs: through the real client libraries against a local stand-in, in processes of their own.

Oracle: the files that the stand-in serves. The stand-in is convert's, which knows models only: it is told that a
request for a data set is one for a model of the same name.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from mlx_model.errors import DatasetError, DependencyError
from parity.cer import datasets
from parity.cer.readers import hub
from parity.cer.readers.hub import Reference, Snapshot, parse
from tests.convert.hub_standin import Handler, commit, names
from tests.parity.cer.test_datasets import jsonl, put

SCRIPT = """
import json, sys
from mlx_model.errors import MlxFunasrError
from parity.cer.datasets import read_dataset
for name in sys.argv[1:]:
    try:
        found = read_dataset(name)
        rows = [[item.utt_id, item.path.read_text(), item.text] for item in found.utterances]
        print(json.dumps({"name": found.name, "kind": found.kind, "rows": rows, "notes": found.notes}))
    except MlxFunasrError as error:
        print(json.dumps({"error": type(error).__name__, "text": str(error)}))
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf:org/name", Reference(hub="hf", name="org/name")),
        ("ms:speech_asr/aishell.1", Reference(hub="ms", name="speech_asr/aishell.1")),
        ("hf:org/name@v1.0/test", Reference(hub="hf", name="org/name", revision="v1.0", part="test")),
        ("hf:a/b/data/test clean#M", Reference(hub="hf", name="a/b", part="data/test clean", subset="M")),
        ("/data/set", None),
        ("iic/model", None),
    ],
)
def test_ids(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text", ["hf:", "hf:name", "hf:a/../b", "ms:a/b/../../c", "hf:/abs/path", "hf:a/b@", "hf:a/b/\n"]
)
def test_what_is_no_id_is_refused_and_asks_no_network(text):
    with pytest.raises(DatasetError, match=r"no data set id; expected hf:ORG/NAME"):
        datasets.read_dataset(text)


class DatasetHandler(Handler):
    """Serves data sets where convert's stand-in serves models."""

    def log_message(self, format: str, *args) -> None:
        """Keep the test's output clean."""

    def do_GET(self) -> None:  # noqa: N802 (http.server's name)
        path = self.path.replace("/api/datasets/", "/api/models/").replace("/api/v1/datasets/", "/api/v1/models/")
        self.path = re.sub(r"^/datasets/(?=.*/resolve/)", "/", path)
        found = re.match(r"/api/v1/models/([^/]+/[^/]+)/repo/tree\?", self.path)
        folder = self.root / found[1] / "master" if found else None
        if folder is None or not folder.is_dir():
            super().do_GET()
            return
        files = [{"Path": path, "Type": "blob", "Size": (folder / path).stat().st_size} for path in names(folder)]
        self.reply(200, json.dumps({"Code": 200, "Success": True, "Data": {"Files": files}}).encode())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("hub")
    rows = [{"id": "a", "audio": "wav/a.wav", "text": "你好"}, {"id": "b", "audio": "wav/b.wav", "text": "再见"}]
    files = {"wav/a.wav": "A", "wav/b.wav": "B", "README.md": "x", "run.py": "raise SystemExit('remote code ran')"}
    for revision in ("main", "master"):
        put(root / "org/set" / revision, {**files, "test.jsonl": jsonl(*rows), "dev.jsonl": jsonl(rows[0])})
        put(root / "org/tables" / revision, {"data/test.parquet": "x"})
    standin = ThreadingHTTPServer(("127.0.0.1", 0), partial(DatasetHandler, root))
    thread = threading.Thread(target=standin.serve_forever, daemon=True)
    thread.start()
    yield standin.server_address[1]
    standin.shutdown()
    standin.server_close()
    thread.join()


def run(home: Path, port: int, *ids: str, **extra: str) -> list[dict]:
    url = f"http://127.0.0.1:{port}"
    environment = {
        **os.environ,
        "HF_ENDPOINT": url,
        "MODELSCOPE_ENDPOINT": url,
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "MODELSCOPE_CACHE": str(home / "ms"),
        **extra,
    }
    command = [sys.executable, "-c", SCRIPT, *ids]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90)
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""  # quiet in a pipe
    return [json.loads(line) for line in found.stdout.splitlines()]


ROWS = [["a", "A", "你好"], ["b", "B", "再见"]]


@pytest.mark.skipif(importlib.util.find_spec("huggingface_hub") is None, reason="huggingface_hub is not installed")
def test_hugging_face_whole_missing_and_offline(server, tmp_path):
    ids = ["hf:org/set/test", "hf:org/set@main/dev", "hf:org/set", "hf:org/set/none", "hf:org/tables", "hf:org/none"]
    test, dev, several, part, tables, none = run(tmp_path, server, *ids)
    note = f"from Hugging Face: org/set at {commit('main')}"
    assert test == {"name": "hf:org/set/test", "kind": "manifest", "rows": ROWS, "notes": [note]}
    assert dev["rows"] == ROWS[:1]
    assert re.search(r"2 manifest lists \(dev\.jsonl, test\.jsonl\); give the path", several["text"])
    assert part["text"].startswith("org/set: holds no 'none'; it holds README.md, dev.jsonl, run.py, test.jsonl, wav")
    assert "its audio lies inside parquet tables" in tables["text"]
    assert none["text"].startswith("Hugging Face has no data set org/none")
    cached, unknown = run(tmp_path, 9, "hf:org/set/test", "hf:org/other", HF_HUB_OFFLINE="1")
    assert cached == test
    assert unknown["error"] == "DatasetError"
    assert "org/other is not in the local cache of Hugging Face" in unknown["text"]


@pytest.mark.skipif(importlib.util.find_spec("modelscope_hub") is None, reason="modelscope 1.38 is not installed")
def test_modelscope_whole_missing_and_offline(server, tmp_path):
    test, none = run(tmp_path, server, "ms:org/set/test", "ms:org/none")
    assert test == {"name": "ms:org/set/test", "kind": "manifest", "rows": ROWS, "notes": ["from ModelScope: org/set"]}
    assert none["text"].startswith("ModelScope has no data set org/none")
    cached, unknown = run(tmp_path, 9, "ms:org/set/test", "ms:org/other", HF_HUB_OFFLINE="1")
    assert cached["rows"] == ROWS
    assert cached["notes"] == ["ModelScope was not reached; the copy in its local cache: org/set"]
    assert "org/other is not in the local cache of ModelScope, and ModelScope was not reached" in unknown["text"]


@pytest.mark.parametrize(("text", "package"), [("hf:a/b", "huggingface_hub"), ("ms:a/b", "modelscope")])
def test_a_missing_client_library_names_the_extra(monkeypatch, text, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DependencyError, match=rf"fetching a/b needs {package}: pip install 'mlx-funasr\[hub\]'"):
        datasets.read_dataset(text)


OUTSIDE = {
    "absolute": {"x.jsonl": jsonl({"id": "a", "path": "/etc/passwd", "text": ""})},
    "climbs": {"x.jsonl": jsonl({"id": "a", "path": "../../secret.wav", "text": ""})},
    "command": {"wav.scp": "a cat a.wav |\n", "text": "a b\n"},
    "scp": {"wav.scp": "a /etc/passwd\n", "text": "a b\n"},
    "shard": {"data.list": "/etc/x.tar\n"},
}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absolute", r"x\.jsonl:1: '/etc/passwd' is absolute; a downloaded list may only name files of its own"),
        ("climbs", r"x\.jsonl:1: '\.\./\.\./secret\.wav' climbs out of .*own folder$"),
        ("command", r"wav\.scp:1: 'cat a\.wav \|' is a command; those of a downloaded list are never run"),
        ("scp", r"wav\.scp:1: '/etc/passwd' is absolute"),
        ("shard", r"data\.list:1: '/etc/x\.tar' is absolute"),
    ],
)
def test_a_downloaded_list_may_not_point_outside_itself(tmp_path, monkeypatch, name, message):
    snapshot = Snapshot(folder=put(tmp_path, OUTSIDE[name]), note="from a test")
    monkeypatch.setattr(hub, "download", lambda reference: snapshot)
    with pytest.raises(DatasetError, match=message):
        datasets.read_dataset("hf:org/name", allow_pipes=True)
