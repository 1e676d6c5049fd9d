"""The demo's network: FunASR's own `Paraformer` at a small size, made fit for quick training.

Its loss is FunASR's; only FunASR's loops over the utterances of a batch are replaced by batched equivalents.
An auxiliary CTC head teaches the encoder where characters lie, since the count loss says nothing about
alignment; it is dropped at export. A small penalty keeps the CIF weights away from 0 and 1. Needs torch and
funasr; only train.py imports this file.
"""

import json
from pathlib import Path

import torch
import yaml
from funasr.models.paraformer import model as paraformer
from funasr.register import tables

FRONTEND = {
    "fs": 16000,
    "window": "hamming",
    "n_mels": 80,
    "frame_length": 25,
    "frame_shift": 10,
    "lfr_m": 7,
    "lfr_n": 6,
    "dither": 0.0,
}
WIDTH, CTC_WEIGHT, ALPHA_WEIGHT, ALPHA_LOGIT = 128, 0.12, 0.1, 2.5
CONFIG = yaml.safe_load(f"""
model: Paraformer
model_conf: {{ctc_weight: 0.0, lsm_weight: 0.1, length_normalized_loss: true, predictor_weight: 1.0,
             predictor_bias: 1, sampling_ratio: 0.75}}
encoder: SANMEncoder
encoder_conf: {{output_size: {WIDTH}, attention_heads: 4, linear_units: 384, num_blocks: 6, dropout_rate: 0.1,
               positional_dropout_rate: 0.1, attention_dropout_rate: 0.1, input_layer: pe,
               pos_enc_class: SinusoidalPositionEncoder, normalize_before: true, kernel_size: 11,
               sanm_shfit: 0, selfattention_layer_type: sanm}}
decoder: ParaformerSANMDecoder
decoder_conf: {{attention_heads: 4, linear_units: 384, num_blocks: 3, dropout_rate: 0.1,
               positional_dropout_rate: 0.1, self_attention_dropout_rate: 0.1,
               src_attention_dropout_rate: 0.1,
               att_layer_num: 3, kernel_size: 11, sanm_shfit: 0}}
predictor: CifPredictorV2
predictor_conf: {{idim: {WIDTH}, threshold: 1.0, l_order: 1, r_order: 1, tail_threshold: 0.45}}
frontend: WavFrontend
frontend_conf: {json.dumps(FRONTEND)}
specaug: SpecAugLFR
specaug_conf: {{apply_time_warp: false, time_warp_window: 5, time_warp_mode: bicubic, apply_freq_mask: true,
               freq_mask_width_range: [0, 20], lfr_rate: 6, num_freq_mask: 1, apply_time_mask: false,
               time_mask_width_range: [0, 12], num_time_mask: 1}}
tokenizer: CharTokenizer
tokenizer_conf: {{unk_symbol: <unk>, split_with_space: true}}
ctc_conf: {{dropout_rate: 0.0, ctc_type: builtin, reduce: true, ignore_nan_grad: true}}
normalize: null
""")


class TrainingParaformer(paraformer.Paraformer):
    """FunASR's class with its per-utterance loops batched; same values, other random draws."""

    def forward(self, speech, speech_lengths, text, text_lengths, **kwargs):
        """FunASR's loss, and a penalty on CIF weights outside 0.08..0.92.

        Left alone the weights saturate at 0 and 1 on this clean speech, their sum then stays within 1e-6 of
        integers for frames on end, and on which frame CIF fires is decided by rounding.
        """
        logits = []
        handle = self.predictor.cif_output.register_forward_hook(lambda _m, _i, out: logits.append(out[..., 0]))
        loss, stats, weight = super().forward(speech, speech_lengths, text, text_lengths, **kwargs)
        handle.remove()
        inside = torch.arange(speech.size(1), device=speech.device) < speech_lengths[:, None]
        excess = (logits[0].abs() - ALPHA_LOGIT).clamp(min=0)
        stats["loss_alpha"] = (excess.square() * inside).sum() / inside.sum()
        return loss + ALPHA_WEIGHT * stats["loss_alpha"], stats, weight

    def sampler(self, encoder_out, encoder_out_lens, ys_pad, ys_pad_lens, pre_acoustic_embeds):
        """The decoder's input for the second pass: some CIF embeddings give way to true tokens."""
        valid = ys_pad.ne(self.ignore_id)
        targets = self.decoder.embed(ys_pad.masked_fill(~valid, 0))
        with torch.no_grad():
            logits = self.decoder(encoder_out, encoder_out_lens, pre_acoustic_embeds, ys_pad_lens)[0]
            right = ((logits.argmax(-1) == ys_pad) & valid).sum(1)
            count = ((valid.sum(1) - right).float() * self.sampling_ratio).long()
            order = torch.rand(ys_pad.shape, device=ys_pad.device).masked_fill(~valid, 2.0).argsort(1)
            replaced = order.argsort(1) < count[:, None]
            keep = (valid & ~replaced)[:, :, None]
        mixed = pre_acoustic_embeds.masked_fill(~keep, 0) + targets.masked_fill(keep, 0)
        return mixed * valid[:, :, None], logits * valid[:, :, None]

    def _calc_ctc_loss(self, encoder_out, encoder_out_lens, ys_pad, ys_pad_lens):
        log_probs = self.ctc.ctc_lo(encoder_out).log_softmax(-1).transpose(0, 1)
        losses = torch.nn.functional.ctc_loss(
            log_probs,
            ys_pad.clamp(min=0),
            encoder_out_lens,
            ys_pad_lens,
            reduction="none",
            zero_infinity=True,
        )
        return losses.mean(), None


def add_sos_eos(ys_pad, sos, eos, ignore_id):
    """FunASR's function of this name without its loop over the batch."""
    column = ys_pad.new_full((ys_pad.size(0), 1), ignore_id)
    ys_out = torch.cat([ys_pad, column], 1)
    ys_out.scatter_(1, ys_pad.ne(ignore_id).sum(1, keepdim=True), eos)
    ys_in = torch.cat([column.fill_(sos), ys_pad], 1)
    return ys_in.masked_fill(ys_in.eq(ignore_id), eos), ys_out


def build(vocabulary_size: int, training: bool) -> torch.nn.Module:
    """The network of CONFIG; with the CTC head only for training."""
    settings = {**CONFIG, **CONFIG["model_conf"], "vocab_size": vocabulary_size, "input_size": 560}
    if not training:
        return tables.model_classes["Paraformer"](**settings)
    paraformer.add_sos_eos = add_sos_eos
    return TrainingParaformer(**{**settings, "ctc_weight": CTC_WEIGHT})


def recognise(net: torch.nn.Module, speech: torch.Tensor, lengths: torch.Tensor) -> list[int]:
    """Greedy token ids of one utterance, as Paraformer.inference finds them."""
    encoder_out, encoder_lens = net.encode(speech, lengths)
    embeds, token_num, _, _ = net.calc_predictor(encoder_out, encoder_lens)
    token_num = token_num.round().long()
    if token_num.max() < 1:
        return []
    logits, _ = net.cal_decoder_with_predictor(encoder_out, encoder_lens, embeds, token_num)
    return [token for token in logits[0].argmax(-1).tolist() if token > 2]


def write_configuration(folder: Path) -> None:
    """config.yaml and the configuration.json by which FunASR finds the other files."""
    text = yaml.safe_dump(CONFIG, sort_keys=False, allow_unicode=True)
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    metas = {
        "init_param": "model.pt",
        "config": "config.yaml",
        "tokenizer_conf": {"token_list": "tokens.json", "seg_dict_file": "seg_dict"},
        "frontend_conf": {"cmvn_file": "am.mvn"},
    }
    document = {
        "framework": "pytorch",
        "task": "auto-speech-recognition",
        "model": {"type": "funasr"},
        "pipeline": {"type": "funasr-pipeline"},
        "model_name_in_hub": {"ms": "", "hf": ""},
        "file_path_metas": metas,
    }
    (folder / "configuration.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
