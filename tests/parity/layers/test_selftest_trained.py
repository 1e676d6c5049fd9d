"""The harness on itself, on a trained checkpoint and real speech; a file of its own, for it takes a while.

Oracle: where each fault was put. Every third fault: the demo's self-test has them all (test_selftest.py), and so has
`mlx-funasr parity selftest CHECKPOINT --audio RECORDING`.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests import forked
from tests.conftest import ROOT

pytestmark = [pytest.mark.reference, pytest.mark.slow, pytest.mark.shared]
# In a process without this one's checks of every shape.
SOME = """
import json, sys
from pathlib import Path
import convert
from parity import families
from parity.layers import selftest
from reports.schema import to_dict
source, audio, folder = map(Path, sys.argv[1:])
convert.convert(source, folder / "model")
faults = families.by_name("paraformer").seeded()[::3]
(folder / "extra").mkdir()
audio = [(audio.stem, audio), *selftest.extra_audio([audio], folder / "extra")]
trace = selftest.reference.record(source, audio, folder / "trace")
print(json.dumps(to_dict(selftest.judge(trace, folder / "model", faults=faults))))
"""


@pytest.mark.timeout(900)
def test_every_third_fault_on_a_trained_checkpoint(shared: Path, tmp_path: Path):
    """Real human speech, 2.4 s."""
    source = shared / "checkpoints/paraformer_real_small"
    audio = shared / "data/aishell_s0150/wav/train/S0150/BAC009S0150W0001.wav"
    command = [forked.python("command"), "-c", SOME, str(source), str(audio), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)
    assert (report["verdict"], report["false_alarms"]) == ("pass", 0)
    assert [row["name"] for row in report["faults"] if row["visible"] and not row["caught"]] == []
    assert report["caught"] >= report["total"] - 1 >= 30  # the sums of alphas are all below a half in this recording
    assert report["right_address"] >= 0.95 * report["caught"]
