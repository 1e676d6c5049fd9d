"""Tap sets: a part's rows stand where the part sits. Oracle: the names that FunASR gives its modules."""

from __future__ import annotations

import pytest

from mlx_model.errors import UsageError
from parity.taps.tapset import load_tapset


def test_a_parts_rows_are_placed_in_the_model():
    tapset = load_tapset("paraformer")
    assert tapset.always == ("encoder.after_norm", "predictor", "decoder.output_layer")
    assert set(tapset.discrete) == {"fires", "token_num", "token_ids"}
    assert tapset.spec("encoder.embed").name == ("encoder.encoders0.0",)
    assert tapset.spec("encoder.encoders.3").introduced == ("0",)
    assert tapset.spec("decoder.decoders.1").introduced == ("0", "-", "2", "-")
    assert tapset.spec("predictor.cif_conv1d").steps[0].channels_first
    assert tapset.spec("cif.weights").kind == "oracle"  # no module: it keeps its name
    assert tapset.sums == {"predictor.peaks": "predictor.alphas"}
    assert load_tapset("bicif_paraformer").sums == {"predictor.us_peaks": "predictor.us_alphas"}


def test_two_families_share_a_part_and_add_their_own():
    vad, paraformer = load_tapset("fsmn_vad_streaming"), load_tapset("paraformer")
    assert vad.spec("fbank") == paraformer.spec("fbank")
    assert vad.precisions == paraformer.precisions
    assert (vad.floor_rel_l2, vad.drift) == (paraformer.floor_rel_l2, paraformer.drift) == (6e-8, 2.5)
    assert vad.spec("stream.60ms.silence").kind == "score"
    assert vad.spec("encoder.fsmn.2").introduced == ("0", "cache")
    assert vad.is_discrete("decision.state")
    assert not paraformer.is_discrete("decision.state")


def test_a_family_without_a_tap_set_is_named():
    with pytest.raises(UsageError, match=r"no tap set for family 'lstm' \(there are: bicif_paraformer, .*paraformer, "):
        load_tapset("lstm")
