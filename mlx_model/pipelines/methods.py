"""What a loaded model can be asked directly: `model.transcribe(audio)`, `.detect(audio)`, `.align(audio, text)`.

Models know no pipeline; `loading` gives a family's class the methods of the roles that it fulfils. The pipelines, and
with them the readers of audio files, are imported at the first call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlx_model.audio.items import Audio
from mlx_model.roles import Aligner, Detector, Embedder, Recognizer, StreamingRecognizer, fulfils
from mlx_model.text.alignment import Alignment
from mlx_model.text.results import Detection, Transcript
from mlx_model.text.speakers import Diarization, Embedded

if TYPE_CHECKING:
    from mlx_model.pipelines.streams import TextStream


class Transcribes:
    """What every Recognizer can be asked."""

    def transcribe(self: Any, audio: Audio | Sequence[Audio], **options: Any) -> list[Transcript]:
        """Return one Transcript per file or waveform, in input order; see `pipelines.transcribe.transcribe`."""
        from mlx_model.pipelines.transcribe import transcribe

        return transcribe(self, audio, **options)


class Streams:
    """What every StreamingRecognizer can be asked."""

    def stream(self: Any, *, keep_text: bool = True, sample_rate: int | None = None, **options: Any) -> TextStream:
        """Return a new stream of samples, which gives text as they come; see `pipelines.streams.stream`."""
        from mlx_model.pipelines.streams import stream

        return stream(self, keep_text=keep_text, sample_rate=sample_rate, **options)


class Detects:
    """What every Detector can be asked."""

    def detect(self: Any, audio: Audio | Sequence[Audio], **options: Any) -> list[Detection]:
        """Return one Detection per file or waveform, in input order; see `pipelines.detect.detect`."""
        from mlx_model.pipelines.detect import detect

        return detect(self, audio, **options)


class Aligns:
    """What every Aligner can be asked."""

    def align(
        self: Any, audio: Audio | Sequence[Audio], texts: str | Sequence[str], **options: Any
    ) -> list[Alignment]:
        """Return one Alignment per file or waveform, in input order; see `pipelines.align.align`."""
        from mlx_model.pipelines.align import align

        return align(self, audio, texts, **options)


class Embeds:
    """What every Embedder can be asked."""

    def embeddings(self: Any, audio: Audio | Sequence[Audio], **options: Any) -> list[Embedded]:
        """Return one Embedded per file or waveform, in input order; see `pipelines.speakers.embed`."""
        from mlx_model.pipelines.speakers import embed

        return embed(self, audio, **options)

    def diarize(self: Any, detector: Detector, audio: Audio | Sequence[Audio], **options: Any) -> list[Diarization]:
        """Return who spoke when in each file or waveform, in input order; see `pipelines.speakers.diarize`."""
        from mlx_model.pipelines.speakers import diarize

        return diarize(self, detector, audio, **options)


METHODS: dict[type[Any], type[Any]] = {
    Recognizer: Transcribes, StreamingRecognizer: Streams, Detector: Detects, Aligner: Aligns,
    Embedder: Embeds,
}  # fmt: skip


def with_methods(model: type[Any]) -> type[Any]:
    """Return a family's class with the methods of its roles."""
    methods = [mixin for role, mixin in METHODS.items() if fulfils(model, role)]
    body = {"__module__": model.__module__, "__doc__": model.__doc__, "__qualname__": model.__qualname__}
    return type(model.__name__, (model, *methods), body)
