"""What a pipeline may ask of a model, whatever family it is of: one Protocol a role, a few methods each.

A family fulfils a role by having its methods; nothing is inherited and nothing registered. `loading.load_as` opens a
directory in a role. What only one family can do is an option: every family declares a frozen dataclass, its `Options`,
which pipelines pass through unchanged and the command line lists (pipelines/options.py). Options check themselves
(`__post_init__` raises UsageError), and have FunASR's names.

Roles without a pipeline (Classifier, Spotter) are not here yet. Loads no MLX.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float, Int, Shaped

from mlx_model.config.chunking import Chunking
from mlx_model.errors import UsageError
from mlx_model.text.alignment import Timed
from mlx_model.text.known_text import KnownText
from mlx_model.text.results import Hypothesis, Punctuated, Times
from mlx_model.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from mlx_model.machine.blas import mx


class FrontendConfig(Protocol):
    """How a model takes sound: its rate, Hz, and the time between two frames, ms."""

    @property
    def fs(self) -> int: ...  # noqa: D102

    @property
    def frame_shift(self) -> float: ...  # noqa: D102


class Config(Protocol):
    """What every model that takes sound says of itself."""

    @property
    def model_type(self) -> str: ...  # noqa: D102

    @property
    def frontend(self) -> FrontendConfig: ...  # noqa: D102

    @property
    def quantization(self) -> Mapping[str, Any] | None: ...  # noqa: D102


class Frontend(Protocol):
    """Samples to features; `min_samples` make the first frame."""

    @property
    def min_samples(self) -> int: ...  # noqa: D102


class Recognizer(Protocol):
    """Speech to text, a batch at a time, in four steps.

    features_of, begin, the function that begin returns, best: each starts what it can and leaves the device busy;
    `hypotheses` waits for it. What begin's function returns, and what best returns, are the family's own.
    """

    Options: ClassVar[type[Any]]
    tokenizer: Tokenizer

    @property
    def config(self) -> Config: ...  # noqa: D102

    @property
    def frontend(self) -> Frontend: ...  # noqa: D102

    def features_of(
        self, waveforms: Shaped[mx.array, "B S"], samples: list[int], *, dither: float, seed: int
    ) -> tuple[Float[mx.array, "B T Din"], Int[mx.array, " B"]]:
        """Return features and their lengths of padded waveforms, float32 or int16; `samples` are their own lengths.

        What lengths count is the family's own: `begin` alone reads them.
        """
        ...

    def begin(
        self, feats: Float[mx.array, "B T Din"], lengths: Int[mx.array, " B"], options: Any = None
    ) -> Callable[[], Any]:
        """Start a batch, and return the function that finishes it and returns the network's output."""
        ...

    def logits_of(self, output: Any) -> list[Float[np.ndarray, "U V"]]:
        """Return what each recording's tokens are chosen by, padding left out, in float32."""
        ...

    def best(self, output: Any, *, confidence: bool = False, nbest: int = 0) -> Any:
        """Return what `hypotheses` needs of an output, being computed, so that the rest of it can be let go.

        Args:
            output: what begin's function returned.
            confidence: hypotheses are to say how sure the model is: `confidences`, `confidence`, `flags`, ...
            nbest: so many `alternatives`, the text itself among them; 0: none.
        """
        ...

    def hypotheses(self, best: Any, options: Any, *, times: bool = False) -> list[Hypothesis]:
        """Return one Hypothesis per recording; `times`: with `words`, or `token_starts_ms`, where the family can."""
        ...


class StreamFrontend(Protocol):
    """Chunks of samples to features, for many streams; caches are values."""

    def new_cache(self) -> Any:
        """Return what a stream begins with."""
        ...

    def chunks(self, samples: Sequence[np.ndarray], caches: Sequence[Any], final: Sequence[bool]) -> list[Any]:
        """Return the features that are complete now, and the cache for the next chunk, of each stream."""
        ...

    def saved(self, cache: Any) -> dict[str, np.ndarray]:
        """Return a cache as arrays; `restored` takes them."""
        ...

    def restored(self, arrays: Mapping[str, np.ndarray]) -> Any:
        """Return the cache that was saved."""
        ...


class StreamingRecognizer(Protocol):
    """Speech to text while it is spoken: one window of each of several streams at a time. Caches are values."""

    Options: ClassVar[type[Any]]
    tokenizer: Tokenizer

    @property
    def config(self) -> Config: ...  # noqa: D102

    @property
    def frontend(self) -> StreamFrontend: ...  # noqa: D102

    @property
    def frame_samples(self) -> int: ...  # noqa: D102

    @property
    def frame_ms(self) -> float: ...  # noqa: D102

    def new_cache(self, chunking: Chunking, *, as_funasr: bool = False) -> Any:
        """Return what a stream begins with; what follows from it is `decided`, the frames decided on."""
        ...

    def step(self, feats: Sequence[Any], caches: Sequence[Any], final: Sequence[bool]) -> list[Any]:
        """Return the next window of each stream: token_ids, `tokens`, `frames`, and the `cache` for the one after."""
        ...

    def saved(self, cache: Any) -> dict[str, np.ndarray]:
        """Return a cache as arrays; `restored` takes them."""
        ...

    def restored(self, arrays: Mapping[str, np.ndarray], like: Any) -> Any:
        """Return the cache that was saved of a stream like this one."""
        ...


class SpeechStream(Protocol):
    """One stream of samples. `speech`, where a list is put there, is given the verdict on every frame."""

    speech: list[bool] | None

    @property
    def earliest_ms(self) -> int:
        """No segment that is not known of begins before."""
        ...

    def feed(self, samples: np.ndarray, *, is_final: bool = False) -> Times:
        """Return the segments that became known with these samples."""
        ...


class Detector(Protocol):
    """Finds speech, in streams and in recordings."""

    Options: ClassVar[type[Any]]

    @property
    def config(self) -> Config: ...  # noqa: D102

    def segments(self, waveform: np.ndarray, options: Any = None) -> Times:
        """Return [[start_ms, end_ms], ...] of one recording."""
        ...

    def stream(self, *, chunk_ms: int | None = None, live: bool = True, options: Any = None) -> SpeechStream:
        """Return a new stream; `chunk_ms` None decides as the family does on a whole recording."""
        ...


class Aligner(Protocol):
    """When the words of a known text are said, a batch at a time."""

    Options: ClassVar[type[Any]]

    @property
    def config(self) -> Config: ...  # noqa: D102

    @property
    def frontend(self) -> Frontend: ...  # noqa: D102

    def features_of(
        self, waveforms: Shaped[mx.array, "B S"], samples: list[int], *, dither: float, seed: int
    ) -> tuple[Float[mx.array, "B T Din"], Int[mx.array, " B"]]:
        """Return features and their lengths of padded waveforms, float32 or int16; `samples` are their own lengths."""
        ...

    def known(self, text: str) -> KnownText:
        """Return a text's words, and the tokens of each."""
        ...

    def timed(
        self,
        feats: Float[mx.array, "B T Din"],
        lengths: Int[mx.array, " B"],
        texts: Sequence[KnownText],
        durations_ms: Sequence[int],
        options: Any = None,
    ) -> list[Timed]:
        """Return when the words of each recording's text are said; `durations_ms` are the recordings' own."""
        ...


class Punctuator(Protocol):
    """Puts punctuation into texts that have none, many texts at a time."""

    Options: ClassVar[type[Any]]

    @property
    def mark_names(self) -> Sequence[str]:
        """What each label is called, FunASR's punc_list."""
        ...

    def words_of(self, text: str) -> list[str]:
        """Return the words that labels stand for."""
        ...

    def punctuate(
        self, texts: Sequence[str], options: Any = None, *, as_funasr: bool = False
    ) -> list[Punctuated]:
        """Return each text with its punctuation; a text's does not depend on what it stands beside."""
        ...


class StreamingPunctuator(Protocol):
    """Puts punctuation into a text that comes in pieces. Caches are values."""

    Options: ClassVar[type[Any]]

    def new_cache(self) -> Any:
        """Return what a text begins with."""
        ...

    def punctuate_next(
        self, text: str, cache: Any, options: Any = None, *, is_final: bool = False, as_funasr: bool = False
    ) -> tuple[Punctuated, Any]:
        """Return the next piece with its punctuation, and the cache for the one after.

        The last word's mark leads the next piece, which decides on it; with `is_final` there is none.
        """
        ...


class Embedder(Protocol):
    """Whose voice it is, as a vector: cosines of two tell whether they are one speaker's."""

    Options: ClassVar[type[Any]]

    @property
    def config(self) -> Config: ...  # noqa: D102

    @property
    def frontend(self) -> Frontend: ...  # noqa: D102

    @property
    def threshold(self) -> float: ...  # noqa: D102

    def features_of(
        self, waveforms: Shaped[mx.array, "B S"], samples: list[int], *, dither: float, seed: int
    ) -> tuple[Float[mx.array, "B T Din"], Int[mx.array, " B"]]:
        """Return features and their lengths of padded waveforms, float32 or int16; `samples` are their own lengths."""
        ...

    def embed(self, waveforms: Sequence[np.ndarray]) -> Float[np.ndarray, "B D"]:
        """Return one embedding of each waveform, float32, not normalised, whatever it is batched with."""
        ...


class Purpose(NamedTuple):
    """What a role is for, and the command that asks for it."""

    words: str
    command: str


ROLES: dict[type[Any], Purpose] = {
    Recognizer: Purpose("turns speech into text", "mlx-funasr transcribe"),
    Detector: Purpose("finds speech", "mlx-funasr vad"),
    StreamingRecognizer: Purpose("turns speech into text while it is spoken", "mlx-funasr transcribe --stream"),
    Aligner: Purpose("times the words of a known text", "mlx-funasr align"),
    Punctuator: Purpose("puts punctuation into texts", "mlx-funasr punctuate"),
    StreamingPunctuator: Purpose("puts punctuation into a text as it comes", "mlx-funasr punctuate --stream"),
    Embedder: Purpose("tells speakers apart", "mlx-funasr speakers"),
}


def fulfils(model: type[Any], role: type[Any]) -> bool:
    """Return whether a family's class has every method of a role."""
    return all(callable(getattr(model, name, None)) for name in _methods(role))


def _methods(role: type[Any]) -> Sequence[str]:
    return [name for name, member in vars(role).items() if inspect.isfunction(member) and not name.startswith("_")]


def check_role(model: type[Any], role: type[Any], where: object, family: str) -> None:
    """Raise UsageError, naming the command that fits, where a family's class does not fulfil a role.

    Args:
        model: the class.
        role: one of ROLES.
        where: the model's directory.
        family: its model_type.
    """
    if fulfils(model, role):
        return
    fitting = [purpose.command for other, purpose in ROLES.items() if fulfils(model, other)]
    hint = f"; try {' or '.join(fitting)}" if fitting else ""
    raise UsageError(f"{where} is a {family}, expected a model that {ROLES[role].words}{hint}")
