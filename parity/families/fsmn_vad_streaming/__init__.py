"""FSMN-VAD's comparison: its table. Frames, transitions, segments; whole and in chunks. No MLX, no torch."""

from parity.families.family import Family, Seeds

FAMILY = Family(
    name="fsmn_vad_streaming",
    decided={
        "frame": "end_to_end.speech", "transition": "end_to_end.transitions", "segment": "end_to_end.segments",
    },
    nothing="has a segment",
    faults=(
        # It stacks frames as they come: there are no surplus frames, and no copies at the ends.
        Seeds("frontend", without=("lfr_surplus_frame", "lfr_left_zeros", "lfr_right_zeros")),
        Seeds("fsmn", "encoder"),
        Seeds("frontend_online"),
        Seeds("vad_decision"),
        Seeds("engine_fsmn", "encoder"),
    ),
    facts=("FSMN orders", "decision"),
    invariance=(
        "arrival of samples", "nothing compiled", "lanes", "CPU engine", "GPU path", "audio format", "device",
        "precision",
    ),
    notes=(
        "Dynamic silence is off on both sides; the model's own thresholds decide.",
        "decision rows: the machine on FunASR's own scores and levels, frame by frame, which must agree exactly; "
        "end_to_end and stream rows: from the waveform on, whole and in chunks of so many milliseconds.",
        "The network runs in pieces of 2 s on one cache, and so does every module alone.",
    ),
    scored="frame",
    words={"frame": "frames", "transition": "transitions", "segment": "segments", "text": "segments"},
)  # fmt: skip
