"""FSMN-VAD's pieces of a comparison: frames, transitions, segments, chunks of a stream. The table; no MLX, no torch."""

from parity.families.family import Family

TABLE = Family(
    name="fsmn_vad_streaming",
    funasr_class="FsmnVADStreaming",
    runner="parity.families.fsmn_vad_streaming.runner:VadRunner",
    outcomes="parity.families.fsmn_vad_streaming.outcomes:VadOutcomes",
    recorder="parity.families.fsmn_vad_streaming.recorder:VadRecorder",
    faults="parity.families.fsmn_vad_streaming.faults:FAULTS",
    words={"frame": "frames", "transition": "transitions", "segment": "segments", "text": "segments"},
    scored="frame",
)
