"""FunASR's whole pipeline: speech is found, recognised, punctuated, and shared among speakers. Knows roles, no family.

Mirrors funasr/auto/auto_model.py::AutoModel. Order: detector over a recording; segments recognised in batches of like
length, and embedded while their samples are here; times shifted and texts joined; punctuation over the text of the
whole recording; clusters of embeddings; sentences and their speakers (text/meeting.py). Memory holds one window of
speech (long_audio.py) and what is said of it, whatever a recording's length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from mlx_model.audio.items import Audio, listed
from mlx_model.errors import UsageError
from mlx_model.files.journal import Journal
from mlx_model.pipelines import voices
from mlx_model.pipelines.long_audio import Progress, transcribe_long
from mlx_model.pipelines.options import option_kinds
from mlx_model.pipelines.resuming import Past
from mlx_model.pipelines.transcribe import transcribe
from mlx_model.pipelines.words import with_words
from mlx_model.roles import Detector, Embedder, Punctuator, Recognizer
from mlx_model.text import meeting
from mlx_model.text.meeting import Marks, Speakers, Wanted
from mlx_model.text.results import Transcript
from mlx_model.text.sentence_info import expanded

MERGED_S = 15.0  # FunASR's merge_length_s, which 1.4.16 does not see where `generate` is told another
OURS = {"hotword": "hotwords", "batch_size_s": "batch_seconds", "preset_spk_num": "num_speakers"}
# FunASR's, which change memory alone: results do not depend on batches here
WITHOUT_EFFECT = ("batch_size_threshold_s", "disable_pbar", "cache", "is_final")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of one call; see `Pipeline.transcribe`."""

    num_speakers: int | None = None
    as_funasr: bool = False
    merge_s: float | None = None
    vad_options: Any = None


class Pipeline:
    """Up to four models that work together: FunASR's AutoModel(model, vad_model, punc_model, spk_model).

    `recognizer` alone transcribes recordings as wholes. A `detector` makes any length possible; a `punctuator` puts
    marks in; an `embedder` tells speakers apart, and needs the detector.

    Raises:
        UsageError: an embedder without a detector; models of different sample rates.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        detector: Detector | None = None,
        punctuator: Punctuator | None = None,
        embedder: Embedder | None = None,
    ):
        if embedder is not None and detector is None:
            raise UsageError("speakers are told apart in the segments that a VAD finds: expected a VAD model as well")
        rates = {
            name: one.config.frontend.fs
            for name, one in (("recogniser", recognizer), ("VAD", detector), ("speaker model", embedder))
            if one is not None
        }
        if len(set(rates.values())) > 1:
            said = ", ".join(f"the {name} {rate} Hz" for name, rate in rates.items())
            raise UsageError(f"models of different sample rates cannot work together: {said}")
        self.recognizer, self.detector = recognizer, detector
        self.punctuator, self.embedder = punctuator, embedder

    def transcribe(
        self,
        audio: Audio | Sequence[Audio],
        *,
        num_speakers: int | None = None,
        spk_mode: str = "punc_segment",
        merge_s: float | None = None,
        vad_options: Any = None,
        sentence_timestamp: bool = False,
        en_post_proc: bool = False,
        return_raw_text: bool = False,
        return_spk_res: bool = True,
        as_funasr: bool = False,
        times: bool = False,
        journal: Journal | None = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> list[Transcript]:
        """Return one Transcript per recording, in input order, with `sentences`, `sentence_info`, `turns` and words.

        With `as_funasr` everything is as FunASR 1.4.16 has it; a recording in which there is speech and no text is then
        left out of the list, as FunASR leaves it out.

        Args:
            audio: a path, a mono waveform at the models' rate in [-1, 1], or a sequence of these.
            num_speakers: how many there are (FunASR's `preset_spk_num`); None: as many as are found.
            spk_mode, sentence_timestamp, en_post_proc, return_raw_text, return_spk_res: see `meeting.Wanted`.
            merge_s: join the VAD's segments up to so many seconds.
            vad_options: the detector's `Options`; None: FunASR's own choice.
            as_funasr: follow FunASR also where it is wrong.
            times: `words` of the whole recording also where nothing here needs them.
            journal: keep what is recognised there, and recognise nothing that it has.
            progress: called with the seconds of recording (without a detector: the recordings) that are done now.
            options: batch_seconds, batch_size, dither, seed, confidence, nbest, and the recogniser's options.

        Raises:
            UsageError: what makes no sense together, or what a model refuses.
            DependencyError: speakers are told apart by libraries that are not installed.
        """
        wanted = Wanted(
            spk_mode=spk_mode, sentence_timestamp=sentence_timestamp, en_post_proc=en_post_proc,
            return_raw_text=return_raw_text, return_spk_res=return_spk_res,
        )  # fmt: skip
        asked = Asked(num_speakers=num_speakers, as_funasr=as_funasr, merge_s=merge_s, vad_options=vad_options)
        self._check(asked)
        kinds = option_kinds(self.recognizer)
        if as_funasr and "as_funasr" in kinds:
            options["as_funasr"] = True  # what else has FunASR's times
        if as_funasr and self.embedder is not None and "output_timestamp" in kinds:
            options.setdefault("output_timestamp", True)
        items = listed(audio)
        pasts = [Past(number=number, journal=journal, embed=self._embed()) for number in range(len(items))]
        times = times or (not as_funasr and (self.punctuator is not None or self.embedder is not None))
        heard = self._heard(items, pasts, asked, progress, {**options, "times": times})
        if self.punctuator is None and self.embedder is None and not sentence_timestamp:
            return heard
        return self._as_funasr(heard, pasts, asked, wanted) if as_funasr else self._right(heard, pasts, asked, wanted)

    def generate(self, input: Audio | Sequence[Audio], **cfg: Any) -> list[dict[str, Any]]:
        """Return what FunASR's `AutoModel.generate` returns, a dictionary a recording, from its own names.

        `cfg` has FunASR's (`hotword`, `batch_size_s`, `preset_spk_num`, `merge_vad`, `merge_length_s`, `language`, ...)
        and those of `transcribe`. With `as_funasr` a recording that has speech and no text is left out.

        Raises:
            UsageError: see `transcribe`.
        """
        from mlx_model.text.formats import funasr_fields

        asked = {OURS.get(name, name): value for name, value in cfg.items() if name not in WITHOUT_EFFECT}
        length = asked.pop("merge_length_s", MERGED_S)
        if asked.pop("merge_vad", False):
            asked["merge_s"] = MERGED_S if asked.get("as_funasr") else length
        asked["sentence_timestamp"] = bool(asked.get("sentence_timestamp"))
        results = self.transcribe(input, **asked)
        return [{"text": one.text, **funasr_fields(one)} for one in results]

    def _check(self, asked: Asked) -> None:
        if self.detector is None and asked.merge_s is not None:
            raise UsageError("segments are merged where a VAD finds some: expected a VAD model as well")
        if asked.num_speakers is not None:
            if self.embedder is None:
                raise UsageError("a number of speakers means nothing without a model that tells speakers apart")
            if asked.num_speakers < 1:
                raise UsageError(f"{asked.num_speakers} speakers: expected at least 1")
        if self.embedder is not None:
            voices.check_installed()

    def _embed(self) -> Callable[..., Any] | None:
        return None if self.embedder is None else partial(voices.embedded, self.embedder)

    def _heard(
        self, items: list[Audio], pasts: list[Past], asked: Asked, progress: Progress | None, options: dict[str, Any]
    ) -> list[Transcript]:
        """What was said, without marks and speakers. As FunASR there are times where the family itself has some."""
        if self.detector is None:
            found = transcribe(self.recognizer, items, progress=progress, **options)
            return [with_words(one, self.recognizer.tokenizer) for one in found] if options["times"] else found
        return transcribe_long(
            self.recognizer, self.detector, items, vad_options=asked.vad_options, merge_s=asked.merge_s,
            progress=progress, memory=pasts.__getitem__, **options,
        )  # fmt: skip

    def _right(
        self, heard: Sequence[Transcript], pasts: Sequence[Past], asked: Asked, wanted: Wanted
    ) -> list[Transcript]:
        texts = [meeting.unmarked(one) for one in heard]
        marked = [None] * len(texts) if self.punctuator is None else self.punctuator.punctuate(texts)
        results = []
        for number, one in enumerate(heard):
            speakers = self._speakers(one, pasts[number], asked, wanted)
            results.append(meeting.right(one, marked[number], speakers, wanted))
        return results

    def _as_funasr(
        self, heard: Sequence[Transcript], pasts: Sequence[Past], asked: Asked, wanted: Wanted
    ) -> list[Transcript]:
        results, mode = [], wanted.spk_mode
        for past, one in zip(pasts, heard, strict=True):
            if meeting.vanishes(one):
                continue
            if self.detector is None:
                marks = self._marks(one.text)
                results.append(one if marks is None else replace(one, text=marks.text, raw_text=one.text))
                continue
            marks = self._marks(meeting.unmarked(one)) if one.segments else None
            speakers = self._speakers(one, past, asked, wanted) if one.segments else None
            found, mode = meeting.as_funasr(one, marks, speakers, wanted, mode)
            results.append(found)
        return results

    def _speakers(self, heard: Transcript, past: Past, asked: Asked, wanted: Wanted) -> Speakers | None:
        if self.embedder is None or not wanted.return_spk_res:
            return None
        rate = self.embedder.config.frontend.fs
        return voices.speakers_in(
            heard.segments or [], past.voices, rate, asked.num_speakers, as_funasr=asked.as_funasr
        )

    def _marks(self, text: str) -> Marks | None:
        """What the punctuator says of a text, as FunASR's does."""
        if self.punctuator is None:
            return None
        (found,) = self.punctuator.punctuate([text], as_funasr=True)
        return Marks(found.text, found.punctuation, expanded(found.words), self.punctuator.mark_names)
