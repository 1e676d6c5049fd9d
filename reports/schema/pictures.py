"""What is drawn of a parity run: a picture by kind of decision, and where one tap's error sits. Stdlib only."""

from __future__ import annotations

from dataclasses import dataclass, field

from reports.checking import no_rectangle

LONGEST_FRAME_S = 10.0  # of a picture: more is no frame, and a tick for every second of it would never end


@dataclass(frozen=True, slots=True, kw_only=True)
class FiringPicture:
    """A running sum that fires at whole numbers, over one utterance's spectrogram.

    Lists over LFR frames; `fbank` is mel bins (low first) x frames, 0..255. `*_fires` are frame indices; `tokens` the
    reference's pieces, one per firing, `candidate_tokens` the candidate's. Tail frames (one past the last) are included
    in alphas and running sums.
    """

    utt_id: str
    frame_s: float
    fbank: list[list[int]]
    reference_alphas: list[float]
    candidate_alphas: list[float]
    running_sum: list[float]
    reference_fires: list[int]
    candidate_fires: list[int]
    tokens: list[str]
    candidate_tokens: list[str]

    def unfit(self) -> str:
        """Return what of a picture that was read cannot be drawn, "" where all can."""
        return no_spectrogram(self.frame_s, self.fbank)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """The pictures of the first utterances, by the kind of decision they show."""

    firing: list[FiringPicture] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Where one tap's error sits: channels (groups, first row = channel 0) x frames, |candidate - truth|.

    `values` are log10 of the error as a multiple of the tap's floor (root mean square of truth x floor_rel_l2).
    """

    tap: str
    utt_id: str
    channels: int
    values: list[list[float]]
    engine: str = "plain"

    def unfit(self) -> str:
        """Return what of a picture that was read cannot be drawn, "" where all can."""
        return no_rectangle("values", self.values)


def no_spectrogram(frame_s: float, fbank: list[list[int]]) -> str:
    """Return what is wrong with a picture's frames and its spectrogram, "" where nothing is."""
    if not 0 < frame_s <= LONGEST_FRAME_S:
        return f"frame_s is {frame_s}; expected seconds above 0, {LONGEST_FRAME_S:g} at most"
    if any(value > 255 for row in fbank for value in row):
        return "fbank holds a number above 255"
    return no_rectangle("fbank", fbank)
