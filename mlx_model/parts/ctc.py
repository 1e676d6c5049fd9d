"""The CTC head: one linear layer from encoder frames to tokens, the blank among them.

Mirrors funasr/models/ctc/ctc.py::CTC (`extra_linear`, and no loss: that is training's).
"""

from __future__ import annotations

from jaxtyping import Float

from mlx_model import ops
from mlx_model.machine.blas import mx
from mlx_model.machine.kept import as_written
from mlx_model.ops import Mask
from mlx_model.parts.basic import Linear


@as_written
class CTC(ops.Stack):
    """encoder_out (B, T, D) -> logits (B, T, V). Greedy decoding needs no softmax: it keeps the order."""

    def __init__(self, vocab_size: int, size: int):
        super().__init__()
        self.ctc_lo = Linear(size, vocab_size)

    def __call__(self, encoder_out: Float[mx.array, "B T D"], mask: Mask = None) -> Float[mx.array, "B T V"]:
        x, _ = ops.enter(encoder_out, mask, self)
        return ops.leave(self.ctc_lo(x))


def log_softmax(logits: Float[mx.array, "*batch V"]) -> Float[mx.array, "*batch V"]:
    """Return the logarithm of the tokens' probabilities, float32 whatever the network's precision.

    Mirrors CTC.log_softmax after `ctc_lo`.
    """
    logits = logits.astype(mx.float32)
    return logits - mx.logsumexp(logits, axis=-1, keepdims=True)
