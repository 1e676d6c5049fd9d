"""What models and data sets on hubs share. Oracle: by hand; the real clients run in the two test_*hub.py beside."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from mlx_model.errors import DatasetError, DependencyError, UsageError
from mlx_model.files.hub import CLIENTS, Fetched, Kind, Repository, client_errors, fetch

COMMIT = "0123456789abcdef0123456789abcdef01234567"
KINDS = [
    (Kind(repo_type="model", words="model", error=UsageError), UsageError),
    (Kind(repo_type="dataset", words="data set", error=DatasetError), DatasetError),
]


@pytest.mark.parametrize(
    ("folder", "commit"),
    [
        (f"hub/models--a--b/snapshots/{COMMIT}", COMMIT),
        (f"hub/models--a--b/{COMMIT}", None),  # a folder of the user's that is called so
        ("hub/models--a--b/snapshots/master", None),
    ],
)
def test_the_commit_is_read_off_the_caches_layout(folder: str, commit: str | None):
    assert Fetched(folder=Path(folder)).commit == commit


def test_a_repository_in_a_message():
    assert Repository(hub="hf", name="a/b").described() == "a/b"
    assert Repository(hub="ms", name="a/b", revision="v1").described() == "a/b at revision 'v1'"


@pytest.mark.parametrize("hub", ["hf", "ms"])
def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, hub: str):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setitem(sys.modules, "modelscope", None)
    with pytest.raises(DependencyError, match=r"fetching a/b needs \w+: pip install 'mlx-funasr\[hub\]'"):
        fetch(Repository(hub=hub, name="a/b"), KINDS[0][0])


class HubError(Exception):
    """Stands for modelscope's."""


class NotExistError(HubError):
    """Stands for modelscope's."""


def modelscope(monkeypatch: pytest.MonkeyPatch, answers: list[Exception | str]) -> list[dict]:
    """Put a stand-in in modelscope's place that gives or raises these, one a call; return what it is asked."""
    asked: list[dict] = []

    def snapshot_download(name: str, **options) -> str:
        asked.append({"name": name, **options})
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    known = {
        "modelscope": ModuleType("modelscope"),
        "modelscope_hub": ModuleType("modelscope_hub"),
        "modelscope.hub.snapshot_download": SimpleNamespace(snapshot_download=snapshot_download),
        "modelscope_hub.errors": SimpleNamespace(HubError=HubError, NotExistError=NotExistError),
    }
    real = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", lambda name: known[name] if name in known else real(name))
    return asked


def test_modelscope_out_of_reach_gives_what_the_cache_has(monkeypatch: pytest.MonkeyPatch):
    asked = modelscope(monkeypatch, [OSError("no route"), "/cache/a"])
    found = fetch(Repository(hub="ms", name="a/b", revision="v1"), KINDS[0][0], ["*.json"])
    assert found == Fetched(folder=Path("/cache/a"), cached=True)
    first = {"name": "a/b", "revision": "v1", "repo_type": "model", "allow_patterns": ["*.json"]}
    assert asked == [first, first | {"local_files_only": True}]


@pytest.mark.parametrize(("kind", "error"), KINDS)
def test_neither_hub_nor_cache(monkeypatch: pytest.MonkeyPatch, kind: Kind, error: type[Exception]):
    modelscope(monkeypatch, [HubError("no  route\nto it"), OSError("nothing here")])
    said = r"^a/b is not in the local cache of ModelScope, and ModelScope was not reached \(no route to it\)"
    with pytest.raises(error, match=said):
        fetch(Repository(hub="ms", name="a/b"), kind)


@pytest.mark.parametrize(("kind", "error"), KINDS)
def test_what_is_not_there(monkeypatch: pytest.MonkeyPatch, kind: Kind, error: type[Exception]):
    modelscope(monkeypatch, [NotExistError("404")])
    with pytest.raises(error, match=f"^ModelScope has no {kind.words} a/b "):
        fetch(Repository(hub="ms", name="a/b"), kind)


def test_offline_asks_the_cache_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    asked = modelscope(monkeypatch, ["/cache/a"])
    assert fetch(Repository(hub="ms", name="a/b"), KINDS[1][0]).cached
    assert [options["local_files_only"] for options in asked] == [True]


def test_every_installed_clients_errors_are_known():
    """An address that a client cannot read is no HTTPError in httpx; both are the hub's not being reached."""
    installed = [name for name in CLIENTS if importlib.util.find_spec(name) is not None]
    assert len(client_errors()) == sum(len(CLIENTS[name]) for name in installed)
    assert all(issubclass(item, Exception) for item in client_errors())
