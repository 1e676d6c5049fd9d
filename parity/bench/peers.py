"""The table of peers: who is measured, and in which order the report names them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from mlx_model.config.sections import nearest
from mlx_model.errors import UsageError
from parity.bench.funasr_mlx_side import FunasrMlx, FunasrMlxShipped
from parity.bench.funasr_side import FunASR, FunasrBFloat16, FunasrCompiled, FunasrFloat16
from parity.bench.jobs import TRANSCRIBE
from parity.bench.mlx_side import Mlx
from parity.bench.onnxruntime_side import OnnxRuntime, OnnxRuntimeInt8
from parity.bench.peer import Peer
from parity.bench.sherpa_side import SherpaOnnx

OURS = Mlx.name
PEERS: dict[str, type[Peer]] = {
    peer.name: peer
    for peer in (
        Mlx, FunASR, FunasrFloat16, FunasrBFloat16, FunasrCompiled, OnnxRuntime, OnnxRuntimeInt8, SherpaOnnx, FunasrMlx,
        FunasrMlxShipped,
    )
}  # fmt: skip
GPU_ONLY = "half precision and torch.compile are compared on a GPU, and MLX computes on the CPU here"


def choose(names: Sequence[str] | None) -> list[type[Peer]]:
    """Return this project's side and the peers of those names (None: all of them), in the table's order.

    Raises:
        UsageError: a name is not in the table.
    """
    for name in names or ():
        if name not in PEERS:
            known = [peer for peer in PEERS if peer != OURS]
            raise UsageError(f"--against {name!r}: no such peer{nearest(name, known)}; there are {', '.join(known)}")
    return [peer for name, peer in PEERS.items() if name == OURS or names is None or name in names]


def missing(peer: type[Peer], device: str, job: str = TRANSCRIBE) -> str | None:
    """Return why a peer cannot run here, as far as that shows before it is started; None where nothing is missing.

    `device`: cpu or gpu, what this project computes on; `job`: what the family does (jobs.py).
    """
    if job not in peer.jobs:
        return "it is here for models that turn speech into text"
    if peer.gpu_only and device == "cpu":
        return GPU_ONLY
    for module, remedy in peer.needs.items():
        if find_spec(module) is None:
            return f"{module} is not installed: {remedy}"
    return None
