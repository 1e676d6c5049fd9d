"""CifPredictorV3: V2's convolution under a CIF that loops in float32, and a second head that says when tokens are said.

Mirrors funasr/models/bicif_paraformer/cif_predictor.py. FunASR's loop adds and subtracts frame by frame, and where its
sums come near a whole token rounding decides. So the loop is run as it stands (`integrals`), on the host, over all
recordings of a batch at once; embeddings are then one product, as in cif.py.

The second head takes every frame apart in three: a transposed convolution whose kernel is its stride, an LSTM in both
directions, a second alpha. Those are scaled to add up to the number of tokens, and where their sum passes a whole one
(`us_peaks`) a token begins: decoding/peak_times.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mlx_model.config.parts import CifPredictorV3Config
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.kept import as_written
from mlx_model.ops import Mask, masked
from mlx_model.parts.basic import Linear, length_mask
from mlx_model.parts.cif import CifPredictorV2, Firing, exact_sum
from mlx_model.parts.integrals import PEAK, THRESHOLD, integrals
from mlx_model.parts.lstm import LSTM


class Peaks(NamedTuple):
    """The second head's answer, three frames to one of the encoder's: us_alphas (B, 3T), zero in the padding."""

    us_alphas: Float[mx.array, "B T3"]

    @property
    def us_peaks(self) -> Float[np.ndarray, "B T3"]:
        """Return the integrals of us_alphas before a token is taken off; from PEAK on they fire. Waits for the host."""
        return integrals(np.array(self.us_alphas), PEAK)


@as_written
class UpsampleConv(nn.Module):
    """x_t W_j + b for j = 0, 1, 2: a transposed convolution whose kernel is as long as its stride is one product.

    `weight` is (Dout, K, Din), torch's (Din, Dout, K) transposed. Mirrors torch.nn.ConvTranspose1d(D, D, K, K).
    """

    def __init__(self, dims: int, times: int):
        super().__init__()
        self.weight = mx.zeros((dims, times, dims))
        self.bias = mx.zeros((dims,))

    def __call__(self, x: Float[mx.array, "B T D"]) -> Float[mx.array, "B T3 D"]:
        """Return K frames for every one of x."""
        outputs, times, inputs = self.weight.shape
        taps = self.weight.transpose(1, 0, 2).reshape(times * outputs, inputs)
        return (x @ taps.T).reshape(x.shape[0], x.shape[1] * times, outputs) + self.bias


@as_written
class CifPredictorV3(CifPredictorV2):
    """V3: the loop decides; and times. Mirrors funasr/models/bicif_paraformer/cif_predictor.py::CifPredictorV3."""

    def __init__(self, config: CifPredictorV3Config):
        super().__init__(config)
        width, self.times, self.use_cif1_cnn = config.idim, config.upsample_times, config.use_cif1_cnn
        self.smooth_factor2, self.noise_threshold2 = config.smooth_factor2, config.noise_threshold2
        self.upsample_cnn = UpsampleConv(width, self.times)
        if config.upsample_type == "cnn_blstm":
            self.blstm = LSTM(width, width, bidirectional=True)
            width *= 2
        self.cif_output2 = Linear(width, 1)

    def fire(self, alphas: Float[mx.array, "B T"]) -> Firing:
        """Return where tokens are complete, from FunASR's loop; how many there are, from the sum, cut to whole ones.

        The two may differ by one where the sum comes within rounding of a whole token: a token that is counted and
        never fired is a zero vector, one that fired and is not counted is left out, as in FunASR.
        """
        given = np.array(alphas)
        sums = integrals(given, THRESHOLD)
        fires = sums >= np.float32(THRESHOLD)
        fired = np.cumsum(fires, axis=1, dtype=np.int32)
        total = given.sum(axis=1, dtype=np.float64).astype(np.float32)
        part = sums - fires.astype(np.float32)
        return Firing(mx.array(fired), mx.array(part), mx.array(fired), self.count(mx.array(total)))

    def fire_on_device(self, alphas: Float[mx.array, "B T"]) -> Firing:
        """Return the same: the loop waits for the host on any device."""
        return self.fire(alphas)

    def upsample(
        self, hidden: Float[mx.array, "B T D"], lengths: Int[mx.array, " B"], mask: Mask, token_num: Int[mx.array, " B"]
    ) -> Peaks:
        """Return second alphas that add up to each recording's number of tokens. On a CPU the LSTM is computed by then.

        Mirrors `get_upsample_timestamp`. Where all alphas are 0, FunASR divides by their sum; here they stay 0.

        Args:
            hidden: the encoder's output.
            lengths: frames of each, (B,).
            mask: of `hidden`, None where nothing is padded.
            token_num: tokens of each, eos among them, (B,).
        """
        return self.scaled(self.second_alphas(hidden, lengths, mask), token_num)

    def scaled(self, alphas: Float[mx.array, "B T3"], token_num: Int[mx.array, " B"]) -> Peaks:
        """Return second alphas scaled to add up to each recording's number of tokens.

        What they add up to is taken without error: that of a sum would be all alphas' alike, and grow with every place
        that `us_peaks` adds up.
        """
        total = exact_sum(alphas)
        scale = mx.where(total > 0, token_num.astype(mx.float32) / mx.maximum(total, 1e-30), 0.0)
        return Peaks(alphas * scale[:, None])

    def second_alphas(
        self, hidden: Float[mx.array, "B T D"], lengths: Int[mx.array, " B"], mask: Mask
    ) -> Float[mx.array, "B T3"]:
        """Return relu(sigmoid(cif_output2(...)) * smooth_factor2 - noise_threshold2), zero in the padding; float32."""
        hidden = masked(hidden, mask)
        x = self.upsample_cnn(self.convolve(hidden) if self.use_cif1_cnn else hidden)
        longer = lengths * self.times
        if "blstm" in self:
            x = self.blstm(x, None if mask is None else longer)
        logits = self.cif_output2(x)[..., 0].astype(mx.float32)  # (B, 3T)
        alphas = nn.relu(mx.sigmoid(logits) * self.smooth_factor2 - self.noise_threshold2)
        return alphas if mask is None else mx.where(length_mask(longer, x.shape[1]), alphas, 0.0)
