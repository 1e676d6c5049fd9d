"""FunASR's own hotword lists, in a process of its own: `python hotword_reference.py REQUEST.json`.

Never imported by the side under test: `ask` starts it and reads what it wrote. Both of FunASR's copies of
generate_hotwords_list are asked, and must agree; where one raises, the answer is {"error": its class}, and so it is
where the list has an entry of no token, which its LSTM refuses.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import types
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent.parent


def ask(folders: list[Path], cases: list[Any]) -> list[list[Any]]:
    """Return FunASR's ids of every case, by folder: a model directory of tokens.json and, it may be, a seg_dict."""
    with tempfile.TemporaryDirectory() as folder:
        request = Path(folder) / "request.json"
        request.write_text(json.dumps({"folders": [str(path) for path in folders], "cases": cases}), "utf-8")
        from tests import forked

        command = [forked.python("funasr"), __file__, str(request)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads((Path(folder) / "answer.json").read_text("utf-8"))


def main(request_path: str) -> None:
    _without_registering_all()
    from funasr.models.contextual_paraformer.model import ContextualParaformer
    from funasr.models.seaco_paraformer.model import SeacoParaformer, load_seg_dict
    from funasr.tokenizer.char_tokenizer import CharTokenizer

    request = json.loads(Path(request_path).read_text("utf-8"))
    model, answers = SimpleNamespace(sos=1), []
    for folder in request["folders"]:
        tokenizer = CharTokenizer(token_list=f"{folder}/tokens.json")
        frontend = SimpleNamespace(cmvn_file=f"{folder}/am.mvn")
        both: list[list[Any]] = []
        for kind in (ContextualParaformer, SeacoParaformer):
            load_seg_dict.cache_clear()
            both.append([_answer(kind, model, case, tokenizer, frontend) for case in request["cases"]])
        assert both[0] == both[1]
        answers.append(both[0])
    Path(request_path).with_name("answer.json").write_text(json.dumps(answers), "utf-8")


def _without_registering_all() -> None:
    """Let `import funasr.x` load x: funasr/__init__.py imports every model that there is, which takes far longer."""
    package = types.ModuleType("funasr")
    package.__path__ = [*find_spec("funasr").submodule_search_locations]  # pyright: ignore
    sys.modules["funasr"] = package


def _answer(kind: Any, model: Any, case: Any, tokenizer: Any, frontend: Any) -> Any:
    import torch

    try:
        found = kind.generate_hotwords_list(model, case, tokenizer=tokenizer, frontend=frontend)
        if found is not None:
            rows = torch.zeros(len(found), max(map(len, found)), 1)
            torch.nn.utils.rnn.pack_padded_sequence(
                rows, [len(ids) for ids in found], batch_first=True, enforce_sorted=False
            )
    except (TypeError, AttributeError, IndexError, OSError, ValueError, RuntimeError) as error:
        return {"error": type(error).__name__}
    return found


if __name__ == "__main__":
    main(sys.argv[1])
