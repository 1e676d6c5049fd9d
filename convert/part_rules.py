"""What differs from copying in the tensors of shared parts, a tuple a part: tables put them together. Data only."""

from convert.weight_map import Rule

FSMN = "self_attn.fsmn_block.weight"
SANM_ENCODER = (
    Rule(pattern=f"encoder.encoders0.*.{FSMN}", op="conv1d"),
    Rule(pattern=f"encoder.encoders.*.{FSMN}", op="conv1d", optional=True),  # num_blocks > 1
)
SANM_DECODER = (
    Rule(pattern=f"decoder.decoders.*.{FSMN}", op="conv1d"),
    Rule(pattern=f"decoder.decoders2.*.{FSMN}", op="conv1d", optional=True),  # num_blocks > att_layer_num
)
CIF = (Rule(pattern="predictor.cif_conv1d.weight", op="conv1d"),)  # V1 depthwise, V2 and V3 dense: one permutation
CIF_V3 = (*CIF, Rule(pattern="predictor.upsample_cnn.weight", op="conv_transpose1d"))
SAMPLER = (Rule(pattern="decoder.embed.**", reason="used by the training sampler only", optional=True),)
CTC_LOSS = (
    Rule(pattern="ctc.**", reason="auxiliary CTC loss of training; Paraformer decodes without it", optional=True),
)
TRAINING = (
    Rule(pattern="criterion*.**", reason="training loss", optional=True),
    Rule(pattern="error_calculator.**", reason="training metric", optional=True),
    Rule(pattern="specaug.**", reason="training augmentation", optional=True),
    Rule(pattern="normalize.**", reason="training leftover; config.yaml sets no normalize", optional=True),
)
BATCH_NORM_COUNTER = (
    Rule(pattern="**.num_batches_tracked", reason="BatchNorm's count of the batches of its training", optional=True),
)
