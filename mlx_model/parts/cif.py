"""CIF: how many tokens there are, and which frames each is made of. CifPredictor (V1) and CifPredictorV2.

Mirrors funasr/models/paraformer/cif_predictor.py. FunASR integrates frame by frame (V1) or by differences of prefix
sums (V2); here the weights of all frames in all tokens come from one running sum, and the embeddings from one product:

    c_t    = alpha_1 + ... + alpha_t                                   (float64)
    w_{u,t} = clip(c_t - u, 0, 1) - clip(c_{t-1} - u, 0, 1)            frame t's share in token u
    embeds = w @ hidden                                                (U, T) x (T, D)

Padded frames are zeroed first, so that the convolution at an utterance's end sees what FunASR sees at batch size one.
On a GPU, which has no float64, the running sum is taken in fixed point (`fixed_point_sum`), without leaving the device.
"""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Bool, Float, Int

from mlx_model import ops_conv
from mlx_model.config.parts import CifPredictorConfig
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.kept import as_written
from mlx_model.ops import Mask, masked
from mlx_model.parts.basic import Linear


class CifOutput(NamedTuple):
    """What a predictor returns; T counts the appended tail frame where there is one.

    acoustic_embeds (B, U, D); token_num (B,) int32; alphas (B, T) float32 with the tail; fires (B, T) bool.
    """

    acoustic_embeds: Float[mx.array, "B U D"]
    token_num: Int[mx.array, " B"]
    alphas: Float[mx.array, "B T"]
    fires: Bool[mx.array, "B T"]


class Firing(NamedTuple):
    """The running sum of alphas, taken apart; T counts the tail frame. token_num is FunASR's count.

    whole (B, T) int32 and part (B, T) float32 in [0, 1] add up to it; fired (B, T) int32: tokens complete after each
    frame, on the sum as FunASR rounds it; token_num (B,) int32.
    """

    whole: Int[mx.array, "B T"]
    part: Float[mx.array, "B T"]
    fired: Int[mx.array, "B T"]
    token_num: Int[mx.array, " B"]

    @property
    def fires(self) -> Bool[mx.array, "B T"]:
        """Return the frames after which a token is complete that was not before."""
        return self.fired > mx.pad(self.fired[:, :-1], [(0, 0), (1, 0)])


FRACTION_BITS = 40  # of a running sum in fixed point; 23 are left for whole tokens: a sum of 8 million fits


def running_sum(alphas: Float[mx.array, "B T"]) -> Float[mx.array, "B T"]:
    """Return the float64 running sum over time, on the CPU (the only MLX device with float64)."""
    return mx.cumsum(alphas.astype(mx.float64, stream=mx.cpu), axis=1, stream=mx.cpu)


def fixed_point_sum(alphas: Float[mx.array, "B T"]) -> Int[mx.array, "B T"]:
    """Return the running sum over time in units of 2^-40, int64, for alphas from 0 on: integers add up without error.

    Alphas from 2^-17 on are multiples of that unit as they are, and float64 holds their sum without error too, up to
    8192 tokens: both are the same number. A smaller alpha, a frame with less than a 130,000th of a token, is rounded by
    at most 2^-41; the two sums differ by no more than that times the number of such frames.
    """
    return mx.cumsum(mx.round(alphas * 2.0**FRACTION_BITS).astype(mx.int64), axis=1)


def exact_sum(alphas: Float[mx.array, "B T"]) -> Float[mx.array, " B"]:
    """Return what alphas from 0 on add up to, rounded once: integers add up without error, on any device."""
    return mx.round(alphas * 2.0**FRACTION_BITS).astype(mx.int64).sum(axis=1).astype(mx.float32) * 2.0**-FRACTION_BITS


def cif_weights(whole: Int[mx.array, "B T"], part: Float[mx.array, "B T"], tokens: int) -> Float[mx.array, "B U T"]:
    """Return each frame's share in each token, (B, tokens, T), from the running sum split as whole + part.

    The split happens in float64, so that float32 is enough here: `whole - u` is exact, and only where it is 0 does
    `part` matter. At sums of 1500 a float32 running sum would already be off by 1e-4.
    """
    token = mx.arange(tokens, dtype=mx.int32)[None, :, None]
    filled = mx.clip((whole[:, None, :] - token).astype(mx.float32) + part[:, None, :], 0.0, 1.0)  # (B, U, T)
    before = mx.pad(filled[:, :, :-1], [(0, 0), (0, 0), (1, 0)])
    return filled - before


@as_written
class MixingConv1d(nn.Conv1d):
    """A dense convolution of padded frames. Mirrors torch.nn.Conv1d with a stride of 1."""

    def __call__(self, x: Float[mx.array, "B Tp D"]) -> Float[mx.array, "B T Dout"]:
        return ops_conv.mixed(x, self)


@as_written
class CifPredictorBase(nn.Module):
    """The part both versions share: alphas, the tail frame, the token count, the embeddings."""

    default_tail_threshold = 0.0
    rounds_running_sum = False  # whether FunASR rounds the running sum to float32 before it looks for integers

    def __init__(self, config: CifPredictorConfig):
        super().__init__()
        self.smooth_factor = config.smooth_factor
        self.noise_threshold = config.noise_threshold
        given = config.tail_threshold
        self.tail_threshold = self.default_tail_threshold if given is None else given
        self.l_order, self.r_order = config.l_order, config.r_order
        self.cif_output = Linear(config.idim, 1)

    def convolve(self, hidden: Float[mx.array, "B T D"]) -> Float[mx.array, "B T D"]:
        """Return the activations `cif_output` reads; V1 and V2 differ here."""
        raise NotImplementedError

    def predict_alphas(self, hidden: Float[mx.array, "B T D"], mask: Mask) -> Float[mx.array, "B T"]:
        """Return relu(sigmoid(cif_output(...)) * smooth_factor - noise_threshold), zero in the padding; float32."""
        logits = self.cif_output(self.convolve(hidden))[..., 0].astype(mx.float32)  # (B, T)
        alphas = nn.relu(mx.sigmoid(logits) * self.smooth_factor - self.noise_threshold)
        return alphas if mask is None else mx.where(mask, alphas, 0.0)

    def append_tail(self, alphas: Float[mx.array, "B T"], lengths: Int[mx.array, " B"]) -> Float[mx.array, "B T1"]:
        """Return alphas with `tail_threshold` standing one frame after each utterance's end (tail_process_fn)."""
        alphas = mx.pad(alphas, [(0, 0), (0, 1)])
        return mx.where(mx.arange(alphas.shape[1])[None, :] == lengths[:, None], self.tail_threshold, alphas)

    def __call__(self, hidden: Float[mx.array, "B T D"], lengths: Int[mx.array, " B"], mask: Mask = None) -> CifOutput:
        hidden = masked(hidden, mask)
        alphas = self.predict_alphas(hidden, mask)
        if self.tail_threshold > 0.0:
            alphas = self.append_tail(alphas, lengths)
        return self.integrate(hidden, alphas)

    def listen(
        self, hidden: Float[mx.array, "B T D"], lengths: Int[mx.array, " B"], mask: Mask
    ) -> tuple[Float[mx.array, "B T1"], Firing]:
        """Return alphas with their tail, and where tokens are complete, without waiting for the host.

        `hidden` is zero in the padding; `embed` then makes the embeddings.
        """
        alphas = self.predict_alphas(hidden, mask)
        if self.tail_threshold > 0.0:
            alphas = self.append_tail(alphas, lengths)
        return alphas, self.fire_on_device(alphas)

    def integrate(self, hidden: Float[mx.array, "B T D"], alphas: Float[mx.array, "B T1"]) -> CifOutput:
        """Return embeddings, token counts and firings for given alphas. One host synchronisation, for U."""
        firing = self.fire(alphas)
        tokens = max(firing.token_num.tolist())  # pyright: ignore[reportArgumentType]
        return CifOutput(self.embed(hidden, firing, tokens), firing.token_num, alphas, firing.fires)

    def fire(self, alphas: Float[mx.array, "B T"]) -> Firing:
        """Return where tokens are complete, from the float64 running sum, which only a CPU can take."""
        c = running_sum(alphas)
        exact = mx.floor(c, stream=mx.cpu)
        part = mx.subtract(c, exact, stream=mx.cpu).astype(mx.float32, stream=mx.cpu)
        seen = c.astype(mx.float32, stream=mx.cpu) if self.rounds_running_sum else c
        fired = mx.floor(seen, stream=mx.cpu).astype(mx.int32, stream=mx.cpu)
        total = seen[:, -1].astype(mx.float32, stream=mx.cpu)
        return Firing(exact.astype(mx.int32, stream=mx.cpu), part, fired, self.count(total))

    def fire_on_device(self, alphas: Float[mx.array, "B T"]) -> Firing:
        """Return the same from the running sum in fixed point, on whatever device computes."""
        c = fixed_point_sum(alphas)
        whole = mx.right_shift(c, FRACTION_BITS).astype(mx.int32)
        part = mx.bitwise_and(c, (1 << FRACTION_BITS) - 1).astype(mx.float32) * 2.0**-FRACTION_BITS
        seen = c.astype(mx.float32) * 2.0**-FRACTION_BITS  # rounded once, like the float64 sum
        fired = mx.floor(seen).astype(mx.int32) if self.rounds_running_sum else whole
        return Firing(whole, part, fired, self.count(seen[:, -1]))

    def count(self, total: Float[mx.array, " B"]) -> Int[mx.array, " B"]:
        """Return FunASR's token count: floor of the sum with a tail, round-half-even without."""
        return (mx.floor(total) if self.tail_threshold > 0.0 else mx.round(total)).astype(mx.int32)

    def embed(self, hidden: Float[mx.array, "B T D"], firing: Firing, tokens: int) -> Float[mx.array, "B U D"]:
        """Return the embeddings of so many tokens. The tail frame, where there is one, has weights but no activations.

        Tokens counted but never fired (possible without a tail) are zero vectors, as in FunASR.
        """
        weights = cif_weights(firing.whole, firing.part, tokens)  # (B, U, T1)
        complete = mx.arange(tokens)[None, :, None] < firing.fired[:, -1][:, None, None]
        weights = mx.where(complete, weights, 0.0)[..., : hidden.shape[1]]
        return weights.astype(hidden.dtype) @ hidden


@as_written
class CifPredictor(CifPredictorBase):
    """V1: depthwise convolution with a residual. Mirrors cif_predictor.py::CifPredictor."""

    default_tail_threshold = 0.45

    def __init__(self, config: CifPredictorConfig):
        super().__init__(config)
        order = config.l_order + config.r_order + 1
        self.cif_conv1d = nn.Conv1d(config.idim, config.idim, order, groups=config.idim)

    def convolve(self, hidden: Float[mx.array, "B T D"]) -> Float[mx.array, "B T D"]:
        """Return relu(conv(hidden) + hidden)."""
        padded = mx.pad(hidden, [(0, 0), (self.l_order, self.r_order), (0, 0)])
        return nn.relu(self.cif_conv1d(padded) + hidden)


@as_written
class CifPredictorV2(CifPredictorBase):
    """V2: dense convolution, no residual. Mirrors cif_predictor.py::CifPredictorV2."""

    rounds_running_sum = True

    def __init__(self, config: CifPredictorConfig):
        super().__init__(config)
        self.cif_conv1d = MixingConv1d(config.idim, config.idim, config.l_order + config.r_order + 1)

    def convolve(self, hidden: Float[mx.array, "B T D"]) -> Float[mx.array, "B T D"]:
        """Return relu(conv(hidden))."""
        padded = mx.pad(hidden, [(0, 0), (self.l_order, self.r_order), (0, 0)])
        return nn.relu(self.cif_conv1d(padded))


PREDICTORS: dict[str, type[CifPredictorBase]] = {"CifPredictor": CifPredictor, "CifPredictorV2": CifPredictorV2}
