"""ParaformerStreaming's comparison: its table. No MLX, no torch."""

from parity.families.family import Family, Seeds

FAMILY = Family(
    name="paraformer_streaming",
    decided={"firing": "predictor.fires", "count": "windows.tokens", "token": "token_ids"},
    nothing="yields a token",
    faults=(
        # Frames are stacked as they come (frontend_stacked).
        Seeds("frontend", without=("lfr_surplus_frame", "lfr_left_zeros", "lfr_right_zeros")),
        Seeds("frontend_stacked"),
        Seeds("sanm_chunk", "encoder"),
        # Written against layers without a past, against positions of a recording, or of a padded batch.
        Seeds("sanm_encoder", "encoder", without=(
            "positions_from_0", "positions_interleaved", "positions_divisor", "scale_after_positions",
            "residual_in_first_block", "heads_interleaved", "attention_unscaled", "no_fsmn_residual",
            "double_fsmn_residual", "no_block_residual", "float16_block", "no_attention_mask", "no_fsmn_mask",
        )),
        # What becomes of alphas is cif_chunk's.
        Seeds("cif", "predictor", without=(
            "tail_repeats", "token_count_rounded", "float32_running_sum", "remainder_lost", "weights_late",
            "no_predictor_mask",
        )),
        Seeds("cif_chunk", "predictor"),
        Seeds("sanm_decoder", "decoder", without=(
            "fsmn_before_ffn", "cross_before_fsmn", "no_decoder_residual", "residual_in_decoders3",
        )),
        Seeds("sanm_decoder_chunk", "decoder"),
        Seeds("tokens", without=("second_best_token",)),
        Seeds("engine", "encoder"),
    ),
    facts=("LayerNorm eps", "attention heads", "FSMN padding", "predictor"),
    invariance=(
        "batch composition", "file order", "stream in pieces", "nothing compiled", "lanes", "CPU engine",
        "audio format", "device", "precision",
    ),
    scored="token",
    words={"firing": "firings", "count": "token counts", "token": "tokens", "text": "texts"},
    notes=(
        "Taps hold all windows of a recording, one behind the other; keys, pasts and carries as they were after each.",
        "A recording's row begins with the setting it was heard in; without --chunk or --look-back, recordings take "
        "turns in five.",
        "Both sides run as FunASR: float32 sums in CIF, decoders2 of a single layer left out, less than a frame at the "
        "end dropped. A module run alone has a past of its own.",
    ),
)  # fmt: skip
