"""Reports attached to a conversion: which are refused, what the card says, what is sent. Oracles: the reports' own
numbers, PyYAML, and huggingface_hub's reader of model-index.
"""

import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import yaml

import convert
from convert.proof import Proof, attached, proof_files, read_proof
from mlx_model.errors import UsageError
from reports import schema
from reports.environment import directory_sha256
from reports.schema import CerReport, CerUtterance, ParityReport, TapRow

TASK = "automatic-speech-recognition"


def parity_report(**fields) -> ParityReport:
    tap = TapRow(
        name="encoder", max_abs=1e-6, rel_l2=1e-7, floor_rel_l2=1e-7, ratio=1.0, tolerance_ratio=4.0, status="pass"
    )
    made = {
        "verdict": "pass", "first_failure": None, "reference": "src", "candidate": "out", "taps": [tap],
        "outcomes": {}, "utterances": [],
    }  # fmt: skip
    return ParityReport(**{**made, **fields})


def cer_report(**fields) -> CerReport:
    heard = CerUtterance(
        utt_id="u1", reference="一二", hypothesis="一三", substitutions=1, deletions=0, insertions=0, hits=1,
        audio="data:audio/wav;base64,UklGRg==",
    )  # fmt: skip
    made = {
        "cer": 0.0274, "substitutions": 1, "deletions": 0, "insertions": 0, "hits": 1, "reference_length": 2,
        "utterances": 40, "missing": 0, "failed": 0, "ci95": [0.0052, 0.0608], "ser": 0.5, "mean_utterance_cer": 0.5,
        "normalizer": "aishell", "normalizer_steps": [], "dataset": "AISHELL-1 <test>", "engine": "mlx", "model": "out",
        "worst": [heard],
    }  # fmt: skip
    return CerReport(**{**made, **fields})


@pytest.fixture
def model(model_dir, tmp_path) -> Path:
    convert.convert(model_dir, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def runs(model, tmp_path) -> tuple[Path, Path]:
    """The folders of a parity run and of a cer run of this conversion."""
    digest = directory_sha256(model)
    schema.write(parity_report(model_sha256=digest), tmp_path / "proof" / "parity.json")
    schema.write(cer_report(model_sha256=digest), tmp_path / "cer" / "cer.json")
    return tmp_path / "proof", tmp_path / "cer"


def test_what_belongs_is_read(model, runs):
    proof = read_proof(model, *runs)
    assert [name for name, _ in proof.reports] == ["parity", "cer"]
    assert read_proof(model, runs[0] / "parity.json", None).parity == proof.parity
    assert read_proof(model, None, None).reports == []


def test_it_still_belongs_after_an_upload_and_a_download(model, runs, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(model, moved)
    (moved / "README.md").write_text("another card", "utf-8")
    (moved / "proof").mkdir()
    (moved / "proof" / "parity.json").write_text("{}", "utf-8")
    (moved / ".cache").mkdir()
    (moved / ".cache" / "x.metadata").write_text("x", "utf-8")
    (moved / ".gitattributes").write_text("*.safetensors filter=lfs", "utf-8")
    assert read_proof(moved, *runs).parity is not None


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokens.json", "conversion.json"])
def test_a_changed_conversion_is_another_model(model, runs, file):
    (model / file).write_bytes((model / file).read_bytes() + b" ")
    for given in ((runs[0], None), (None, runs[1])):
        with pytest.raises(UsageError, match="is of another model"):
            read_proof(model, *given)


def test_a_parity_run_that_failed_is_refused(model, tmp_path):
    report = parity_report(verdict="fail", first_failure="encoder", model_sha256=directory_sha256(model))
    schema.write(report, tmp_path / "parity.json")
    with pytest.raises(UsageError, match=r"the verdict is 'fail' \(encoder\)"):
        read_proof(model, tmp_path, None)


def test_a_report_that_does_not_say_of_what_it_is_is_refused(model, tmp_path):
    schema.write(parity_report(), tmp_path / "parity.json")
    with pytest.raises(UsageError, match="run `mlx-funasr parity run` again"):
        read_proof(model, tmp_path, None)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"engine": "funasr"}, "measured funasr, not the conversion"), ({"cer": float("nan")}, "holds no rate")],
)
def test_a_cer_run_that_says_nothing_about_it_is_refused(model, tmp_path, fields, reason):
    schema.write(cer_report(model_sha256=directory_sha256(model), **fields), tmp_path / "cer.json")
    with pytest.raises(UsageError, match=reason):
        read_proof(model, None, tmp_path)


def test_what_is_no_report_is_one_line(model, runs, tmp_path):
    (tmp_path / "broken.json").write_text("{", "utf-8")
    (tmp_path / "other").mkdir()
    for place in (
        tmp_path / "nowhere",
        tmp_path / "other",
        tmp_path / "broken.json",
        runs[1] / "cer.json",
        Path("x" * 300),
    ):
        with pytest.raises(UsageError) as caught:
            read_proof(model, place, None)
        assert "\n" not in str(caught.value)


def card_with(model: Path, proof: Proof, card: str | None = None) -> tuple[dict, str, str]:
    """Return a card with a proof: front matter, body, and all of it."""
    card = (model / "README.md").read_text("utf-8") if card is None else card
    made = attached(card, proof, name="a model", task=TASK)
    _, front, body = made.split("---\n", 2)
    return yaml.safe_load(front), body, made


def test_the_card_links_the_proof_and_states_the_rate(model, runs):
    front, body, _ = card_with(model, read_proof(model, *runs))
    (entry,) = front["model-index"]
    (result,) = entry["results"]
    assert result["task"] == {"type": TASK}
    assert result["dataset"] == {"type": "aishell-1-test", "name": "AISHELL-1 <test>"}
    assert result["metrics"] == [{"type": "cer", "value": 2.74, "name": "CER (%)"}]
    assert "PASS: 1 of 1 taps passed ([report](proof/parity.html), [data](proof/parity.json))" in body
    assert "CER 2.74 % (95 %: 0.52 to 6.08) on AISHELL-1 &lt;test&gt;, 40 utterances, normaliser aishell" in body
    assert body.index("## Provenance") < body.index("## Proof") < body.index("## Licence and attribution")


def test_a_second_proof_replaces_the_first_and_what_the_owner_wrote_stays(model, runs):
    proof = read_proof(model, *runs)
    once = card_with(model, proof)[2]
    assert card_with(model, proof, once)[2] == once
    edited = once.replace("## Use", "## News\n\nmine\n\n## Use")
    front, body, _ = card_with(model, dataclasses.replace(proof, cer=None), edited)
    assert "model-index" not in front
    assert body.count("## Proof") == 1
    assert "CER" not in body
    assert "## News\n\nmine\n" in body


def test_a_card_without_our_sections_gets_the_proof_at_its_end(model, runs):
    made = attached("hello\n", read_proof(model, runs[0], None), name="x", task=TASK)
    assert made.startswith("hello\n\n## Proof\n\n")


@pytest.mark.skipif(importlib.util.find_spec("huggingface_hub") is None, reason="huggingface_hub is not installed")
def test_the_hubs_own_reader_finds_the_result(model, runs):
    from huggingface_hub.repocard_data import model_index_to_eval_results

    front, _, _ = card_with(model, read_proof(model, *runs))
    name, (result,) = model_index_to_eval_results(front["model-index"])
    assert name == "a model"
    assert (result.task_type, result.metric_type, result.metric_value) == (TASK, "cer", 2.74)
    assert result.dataset_name == "AISHELL-1 <test>"


def test_what_is_sent_has_pages_and_no_recordings(model, runs):
    files = proof_files(read_proof(model, *runs))
    assert sorted(files) == ["proof/cer.html", "proof/cer.json", "proof/parity.html", "proof/parity.json"]
    assert b"data:audio" in (runs[1] / "cer.json").read_bytes()
    assert all(b"data:audio" not in content for content in files.values())
    assert schema.read(runs[0] / "parity.json") == schema.from_dict(json.loads(files["proof/parity.json"]))
