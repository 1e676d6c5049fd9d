"""Few shapes, compiled graphs kept: how a GPU runs the two steps of a model, `listen` and `spell`.

- A new shape costs 0.2 s on CUDA, for cuDNN's plans of convolution and attention. So batches are padded to one of few
  shapes (`rounded_up`).
- `mx.compile` fuses what stands between the matrix products and saves building the graph: about a tenth of the time.
  It makes kernels, which on CUDA takes a minute the first time on a machine, and 20 ms a shape when they are there. So
  it is for those who ask for it (`Model.compile`), and the last `MOST_SHAPES` shapes are kept.
- The host waits once, between the steps, for the token counts, which decide on the second one's shape. So a GPU is
  given all of the next batch's first step before this one's counts are waited for. And where a batch of this shape was
  there before, the second step is begun for as many tokens as that one had, and again only where they do not suffice.

A model's steps are functions of arrays that wait for nothing. Which model it is is not known here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from jaxtyping import Float

from mlx_model import ops
from mlx_model.engines.stacks import looked_at, stacks_of, traced
from mlx_model.machine import device
from mlx_model.machine.blas import mx, nn
from mlx_model.machine.kept import kind_of

MOST_SHAPES = 64  # kept of each step


def rounded_up(size: int, least: int, parts: int) -> int:
    """Return the next multiple of a step: `least`, or the power of two that makes `parts` steps to twice a size."""
    step = max(least, (1 << (size - 1).bit_length()) // (2 * parts))
    return -(-size // step) * step


def batch_shape(batch: int) -> int:
    """Return how many recordings a batch is padded to: exact up to 16, then at most an eighth more."""
    return rounded_up(batch, 1, 8)


def time_shape(steps: int) -> int:
    """Return how many frames or tokens a batch is padded to: the next 16, from 512 on at most a sixteenth more."""
    return rounded_up(steps, 16, 16)


def padded(feats: Float[mx.array, "B T Din"], lengths: list[int]) -> tuple[mx.array, mx.array]:
    """Return features and lengths in an allowed shape; recordings that are none have one frame, of zeros."""
    B, T = feats.shape[:2]
    more, longer = batch_shape(B) - B, time_shape(T) - T
    if more or longer:
        feats = mx.pad(feats, [(0, more), (0, longer), (0, 0)])
    return feats, mx.array([*lengths, *[1] * more])


class Steps:
    """`listen` and `spell` of one model, compiled or not; `MOST_SHAPES` of each are kept.

    Compiled graphs hold the weights as constants. As inputs, 700 of them would be looked at on every call, and every
    layer would transpose its own anew: for one short recording 10.6 ms in place of 10.3, by the fastest of some rounds.
    """

    def __init__(self, model: Any, *, compiled: bool):
        made: Callable[..., Callable[..., Any]] = _compiled if compiled else lambda function: function
        forms: list[Any] = []  # what `listen` returns, of which a compiled graph knows the arrays alone

        def listen(feats: mx.array, lengths: mx.array) -> list[mx.array]:
            heard = model.listen(feats, lengths)
            forms[:] = [_form(heard)]
            return list(_flat(heard))

        @functools.lru_cache(MOST_SHAPES)
        def listener(batch: int, steps: int) -> Callable[..., Any]:
            return made(listen)

        @functools.lru_cache(MOST_SHAPES)
        def speller(batch: int, steps: int, tokens: int) -> Callable[..., Any]:
            return made(lambda lengths, *heard: model.spell(_shaped(forms[0], iter(heard)), lengths, tokens))

        self.listener, self.speller, self.forms = listener, speller, forms

    def listen(self, feats: Float[mx.array, "B T Din"], lengths: mx.array) -> Any:
        """Return the first step of features in an allowed shape."""
        found = self.listener(*feats.shape[:2])(feats, lengths)
        return _shaped(self.forms[0], iter(found))

    def spell(self, heard: Any, lengths: mx.array, tokens: int) -> mx.array:
        """Return the second step for an allowed number of tokens."""
        return self.speller(*heard.encoder_out.shape[:2], tokens)(lengths, *_flat(heard))


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    def tracing(*given: Any) -> Any:
        with traced():
            return function(*given)

    return mx.compile(tracing)


def _flat(tree: Any) -> Iterator[mx.array]:
    for part in tree:
        if isinstance(part, tuple):
            yield from _flat(part)
        else:
            yield part


def _form(tree: Any) -> Any:
    """Return the classes of a tree of named tuples, without its arrays."""
    return type(tree), [_form(part) if isinstance(part, tuple) else None for part in tree]


def _shaped(form: Any, arrays: Iterator[mx.array]) -> Any:
    cls, parts = form
    return cls(*(next(arrays) if part is None else _shaped(part, arrays) for part in parts))


class FewShapes:
    """What `engines.fit` puts on a model of two steps; as `ops.Ahead`."""

    def __init__(self) -> None:
        self.compiled, self.steps = False, None
        self.tokens: dict[tuple[int, ...], int] = {}  # that batches of a shape had last, as a shape

    def __deepcopy__(self, memo: dict[int, Any]) -> FewShapes:
        return FewShapes()  # a copied model has other weights

    def takes(self, model: Any) -> bool:
        """Whether a batch is run this way: on a GPU, where nobody watches, and modules do what is written.

        What was compiled stays what it was made of, as its weights do.
        """
        if not device.on_gpu() or ops.chosen() is not None:
            return False
        return self.compiled or self._follows(model)

    def _follows(self, model: Any) -> bool:
        return all(kind_of(getattr(model, name)) for name in model.taken_apart) and all(
            kind_of(stack) and any(engine.in_words(stack) for engine in ops.offered(stack))
            for stack in stacks_of(model)
        )

    def compile(self) -> None:
        """Let every new shape be compiled, of the model as it then is."""
        self.compiled, self.steps = True, None

    def in_words(self) -> str:
        """Return how batches are run."""
        return "GPU path, compiled" if self.compiled else "GPU path"

    def steps_of(self, model: nn.Module) -> Steps:
        """Return the model's steps, with the graphs that are kept of them."""
        if self.steps is None:
            self.steps = Steps(model, compiled=self.compiled)
        return self.steps

    def begin(self, model: Any, feats: Float[mx.array, "B T Din"], sizes: list[int]) -> Callable[[], Any]:
        """Return what `Model.begin` does. One host synchronisation, for the token counts."""
        steps, (B, T) = self.steps_of(model), feats.shape[:2]
        feats, lengths = padded(feats, sizes)
        shape = tuple(feats.shape[:2])
        with looked_at():  # by `takes`, just now
            heard = steps.listen(feats, lengths)
        counts = heard.token_num[:B] + 0  # the host's own: what it has read, the card has to fetch from it again
        mx.async_eval(heard, counts)

        def finish() -> Any:
            expected = self.tokens.get(shape, 0)
            spelt = self._spelt(steps, heard, lengths, expected)
            tokens: int = max(counts.tolist())  # pyright: ignore[reportArgumentType, reportAssignmentType]
            needed = time_shape(tokens) if tokens else 0
            if needed > expected:
                spelt = self._spelt(steps, heard, lengths, needed)
            self.tokens[shape] = needed
            while len(self.tokens) > MOST_SHAPES:
                del self.tokens[next(iter(self.tokens))]
            logits = model.no_logits(B) if spelt is None else spelt[:B, :tokens]
            return model.output(heard, logits, sizes, T)

        return finish

    def _spelt(self, steps: Steps, heard: Any, lengths: mx.array, tokens: int) -> mx.array | None:
        """Return the logits of so many tokens, being computed; None of none."""
        if tokens == 0:
            return None
        with looked_at():
            logits = steps.spell(heard, lengths, tokens)
        mx.async_eval(logits)
        return logits
