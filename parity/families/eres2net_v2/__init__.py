"""ERes2NetV2's comparison: its table. No MLX, no torch."""

from parity.families.family import Family, Seeds

FAMILY = Family(
    name="eres2net_v2",
    decided={"same": "model.seg_1", "nearest": "model.seg_1", "label": "end_to_end.labels"},
    nothing="has an embedding",
    faults=(
        # Samples stay in [-1, 1]; there are neither stacked frames nor CMVN; a povey window is 0 at its first sample.
        Seeds("frontend", without=(
            "not_scaled", "first_sample", "lfr_surplus_frame", "lfr_left_zeros", "lfr_right_zeros", "no_cmvn",
            "cmvn_order",
            "splice_as_shift",
        )),
        Seeds("speaker_frontend"),
        Seeds("eres2net", "model"),
        Seeds("windows"),
    ),
    facts=("BatchNorm eps",),
    invariance=(
        "batch composition", "padding length", "file order", "nothing compiled", "audio format", "device", "precision",
    ),
    scored="embedding",
    words={
        "same": "pairs of recordings", "nearest": "nearest recordings", "label": "windows' labels",
        "speaker": "speakers", "embedding": "embeddings", "text": "turns", "utterance": "recordings",
    },
    notes=(
        "Samples are in [-1, 1], where the floor of the logarithm bites; features have their mean taken off.",
        "A recording is also taken for one segment of speech: its windows, labels and turns are FunASR's with "
        "k-means begun at seed 0 on both sides.",
        "An embedding is one frame; 2-D layers are compared with time first.",
    ),
)  # fmt: skip
