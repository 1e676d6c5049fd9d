"""FunASR's modules in half precision, compiled by torch and in CUDA graphs, none of which its AutoModel offers.

All change a loaded Paraformer in place, so that its own `encode`, `calc_predictor`, `cal_decoder_with_predictor` and
AutoModel's `generate` run it so. Imports torch and funasr in its functions; never beside mlx.
"""

from __future__ import annotations

import functools
from typing import Any

MOST_SHAPES = 64  # torch compiles a module for; beyond its default of 8 it would silently run eagerly


def lower(model: Any, dtype: str) -> None:
    """Let encoder and decoder compute in `dtype`, and the predictor in float32.

    FunASR 1.4.16 cannot run as a whole in half precision: in CIF index_put refuses mixed types, and the decoder's
    masks, float32 by default, would turn everything into float32, which its layers then refuse. Those masks are made
    in `dtype` for the whole process from then on. FunASR computes positions in `dtype` too: bfloat16 has no odd numbers
    above 256.
    """
    import torch
    from funasr.models.scama import utils

    target = getattr(torch, dtype)
    for part, taken in ((model.encoder, target), (model.predictor, torch.float32), (model.decoder, target)):
        part.to(taken)
        part.register_forward_pre_hook(functools.partial(_cast, taken))
    plain = getattr(utils.sequence_mask, "func", utils.sequence_mask)
    utils.sequence_mask = functools.partial(plain, dtype=target)


def _cast(dtype: Any, _: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a module's inputs, the floating-point tensors among them in `dtype`."""
    return tuple(x.to(dtype) if hasattr(x, "is_floating_point") and x.is_floating_point() else x for x in inputs)


def compile_parts(model: Any, mode: str = "default") -> None:
    """Let torch compile encoder and decoder, for each shape they meet at its first run; `mode` is torch.compile's."""
    import torch

    torch._dynamo.config.recompile_limit = MOST_SHAPES
    for part in (model.encoder, model.decoder):
        part.compile(dynamic=False, mode=mode)


class Graphs:
    """FunASR's encoder and decoder, each captured in a CUDA graph for one shape; a call runs a batch of that shape.

    FunASR's masks ask the host how long the batch is, and its positions come from there, which nothing that is captured
    may do. So both are made on the card, as wide as the arrays are, for the whole process from then on. The predictor
    is not captured: how many tokens there are decides on the decoder's shape; a batch has to have as many as the one
    that was captured with.
    """

    def __init__(self, model: Any, feats: Any, lengths: Any):
        import torch
        from funasr.models.paraformer import cif_predictor
        from funasr.models.paraformer import model as paraformer
        from funasr.models.sanm import encoder
        from funasr.models.scama import utils

        frames, tokens = feats.shape[1], [0]
        embed = model.encoder.embed
        codes = type(embed).forward(embed, torch.zeros_like(feats))  # positions, which FunASR copies from the host
        embed.forward = lambda x: x + codes
        modules: tuple[Any, ...] = encoder, paraformer, cif_predictor
        for module in modules:
            module.make_pad_mask = functools.partial(_mask, frames)

        def mask(lengths: Any, maxlen: Any = None, dtype: Any = feats.dtype, device: Any = None) -> Any:
            wide = frames if lengths.dtype == torch.int32 else tokens[0]
            return (torch.arange(wide, device=lengths.device)[None, :] < lengths[:, None]).type(dtype)

        utils.sequence_mask = mask
        self.model, self.lengths, self.frames = model, lengths, lengths.to(torch.int32)
        self._given = feats, codes  # which the graph reads where they are
        self.encoded, self._encoder = _captured(lambda: model.encoder(feats, lengths)[0])
        self._encoder.replay()
        embeds, counts = self.hear()
        tokens[0] = embeds.shape[1]
        self._embeds, self._counts = embeds.to(feats.dtype).clone(), counts.clone()
        given = self.encoded, self.frames, self._embeds, self._counts
        self._best, self._decoder = _captured(lambda: model.decoder(*given)[0].argmax(-1))

    def encode(self) -> None:
        """Run the encoder."""
        self._encoder.replay()

    def hear(self) -> tuple[Any, Any]:
        """Run encoder and predictor; return embeddings and token counts."""
        self.encode()
        embeds, counts, _, _ = self.model.calc_predictor(self.encoded, self.lengths)
        return embeds, counts.round().long()

    def decode(self) -> Any:
        """Run the decoder on what was heard last; return the best tokens."""
        self._decoder.replay()
        return self._best

    def __call__(self) -> tuple[Any, Any]:
        """Return the best tokens and their counts."""
        embeds, counts = self.hear()
        self._embeds.copy_(embeds)
        self._counts.copy_(counts)
        return self.decode(), self._counts


def _mask(frames: int, lengths: Any, xs: Any = None, length_dim: int = -1, maxlen: Any = None) -> Any:
    """Return FunASR's make_pad_mask, made where the lengths are."""
    import torch

    wide = frames if maxlen is None else int(maxlen)
    return torch.arange(wide, device=lengths.device)[None, :] >= lengths[:, None]


def _captured(run: Any) -> tuple[Any, Any]:
    """Return what a function returned and the CUDA graph that computes it again in the same place."""
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = run()
    return found, graph
