"""A meeting of two speakers and of one sentence that nobody is known to have said, for tests of its page."""

from __future__ import annotations

from reports.schema import MeetingReport, MeetingSentence, MeetingSpeaker, MeetingTurn


def meeting(environment: dict[str, str]) -> MeetingReport:
    """Three sentences, 12 s."""
    return MeetingReport(
        recording="board.wav",
        duration_s=12.0,
        sentences=[
            MeetingSentence(text="我们开始吧。", start_s=0.5, end_s=2.0, speaker=0, confidence=0.91, doubts=[[2, 4]]),
            MeetingSentence(text="好的，<b>没有问题。", start_s=2.4, end_s=6.0, speaker=1, confidence=0.4),
            MeetingSentence(text="嗯。", start_s=7.0, end_s=7.4),
        ],
        speakers=[
            MeetingSpeaker(name="Speaker 0", seconds=1.5, share=0.3, turns=1, sentences=1),
            MeetingSpeaker(name="Speaker 1", seconds=3.5, share=0.7, turns=1, sentences=1),
        ],
        turns=[MeetingTurn(start_s=0.5, end_s=2.0, speaker=0), MeetingTurn(start_s=2.4, end_s=5.9, speaker=1)],
        confidence=0.655,
        audio="data:audio/ogg;base64,T2dnUw==",
        models={"model": "paraformer", "vad": "fsmn_vad"},
        notes=["One note."],
        environment=environment,
    )
