"""Trains the demo's model on the speech of make_speech.py and writes a FunASR model directory.

    python train.py CORPUS MODEL --minutes 3    CORPUS is the folder that `make_speech.py corpus` wrote

Features come from FunASR's WavFrontend, targets from its tokenizer, the loss from its Paraformer. Nothing in
the package imports this file; it needs torch and funasr, and a GPU unless time is no matter.
"""

import argparse
import json
import math
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from funasr.frontends.wav_frontend import WavFrontend
from funasr.tokenizer.char_tokenizer import seg_tokenize
from grammar import ENGLISH_PIECES
from network import FRONTEND, build, recognise, write_configuration
from score import error_rate

BATCH, PEAK_RATE, WARM_UP, EMA = 128, 2e-3, 600, 0.999


def _features(samples: np.ndarray) -> np.ndarray:
    torch.set_num_threads(1)
    wave = torch.from_numpy(samples.astype(np.float32) / 32768.0)[None]
    return WavFrontend(**FRONTEND)(wave, torch.tensor([wave.size(1)]))[0][0].numpy()


def read_corpus(path: Path, workers: int | None) -> tuple[list[np.ndarray], list[str]]:
    """LFR features before CMVN, (T, 560) each, and the sentences of one .npz file."""
    stored = np.load(path)
    pieces = np.split(stored["samples"], np.cumsum(stored["lengths"])[:-1])
    with ProcessPoolExecutor(workers) as pool:
        feats = list(pool.map(_features, pieces, chunksize=100))
    return feats, [str(text) for text in stored["texts"]]


def write_vocabulary(folder: Path, texts: list[str]) -> tuple[list[str], dict[str, str]]:
    """tokens.json and seg_dict: every character seen, then the pieces of the English words."""
    characters = sorted({c for text in texts for word in text.split() if not word.isascii() for c in word})
    pieces = sorted({piece for word in ENGLISH_PIECES.values() for piece in word.split()})
    tokens = ["<blank>", "<s>", "</s>", *characters, *pieces, "<unk>"]
    segments = {c: c for c in characters} | ENGLISH_PIECES
    document = json.dumps(tokens, ensure_ascii=False, indent=0) + "\n"
    (folder / "tokens.json").write_text(document, encoding="utf-8")
    lines = "".join(f"{word} {pieces}\n" for word, pieces in segments.items())
    (folder / "seg_dict").write_text(lines, encoding="utf-8")
    return tokens, segments


def write_cmvn(path: Path, feats: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Kaldi's nnet text of minus the mean and one over the deviation; both returned as FunASR reads them."""
    frames = np.concatenate(feats)
    rows = []
    for values in (-frames.mean(0, dtype=np.float64), 1 / frames.std(0, dtype=np.float64)):
        rows.append(" ".join(f"{value:.7g}" for value in values))
    blocks = zip(("AddShift", "Rescale"), rows, strict=True)
    body = "".join(f"<{name}> 560 560 \n<LearnRateCoef> 0 [ {row} ]\n" for name, row in blocks)
    path.write_text(f"<Nnet> \n<Splice> 560 560\n[ 0 ]\n{body}</Nnet> \n", encoding="utf-8")
    shift, scale = (np.array(row.split(), dtype=np.float32) for row in rows)
    return shift, scale


class Corpus:
    """Normalised features of all utterances end to end on one device, and their token ids."""

    def __init__(self, feats, texts, cmvn, tokens, segments, device):
        index = {token: i for i, token in enumerate(tokens)}
        ids = [[index[piece] for piece in seg_tokenize(text.split(), segments)] for text in texts]
        self.feats = torch.from_numpy((np.concatenate(feats) + cmvn[0]) * cmvn[1]).to(device)
        self.lengths = torch.tensor([len(feat) for feat in feats], device=device)
        self.starts = self.lengths.cumsum(0) - self.lengths
        self.ids = torch.nn.utils.rnn.pad_sequence(list(map(torch.tensor, ids)), True, -1).to(device)

    def batch(self, chosen: torch.Tensor):
        """Padded speech, its lengths, padded text, its lengths: the arguments of Paraformer.forward."""
        lengths, ids = self.lengths[chosen], self.ids[chosen]
        steps = torch.arange(int(lengths.max()), device=lengths.device)
        inside = steps < lengths[:, None]
        speech = self.feats[(self.starts[chosen][:, None] + steps) * inside] * inside[:, :, None]
        counts = ids.ne(-1).sum(1)
        return speech, lengths, ids[:, : int(counts.max())], counts

    def epoch(self, generator: torch.Generator):
        """Shuffled batches of utterances of similar length."""
        jitter = self.lengths.cpu() + 3 * torch.rand(len(self.lengths), generator=generator)
        groups = jitter.argsort().split(BATCH)
        for i in torch.randperm(len(groups), generator=generator).tolist():
            yield self.batch(groups[i].to(self.lengths.device))


@torch.no_grad()
def held_out_error_rate(net: torch.nn.Module, corpus: Corpus) -> dict:
    """Token error rate over a corpus, one utterance at a time as FunASR decodes."""
    net.eval()
    pairs = []
    for i in range(len(corpus.lengths)):
        speech, lengths, ids, _ = corpus.batch(torch.tensor([i], device=corpus.lengths.device))
        pairs.append((ids[0].tolist(), recognise(net, speech, lengths)))
    return error_rate(pairs)


def optimise(net: torch.nn.Module, corpus: Corpus, seconds: float) -> dict[str, torch.Tensor]:
    """Train until the time is up; the exponential average of the weights is returned."""
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(net.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    current = net.state_dict()  # shares storage with the parameters, so it follows them
    average = {name: value.clone() for name, value in current.items()}
    step, start, done = 0, time.monotonic(), 0.0
    net.train()
    while done < 1.0:
        for batch in corpus.epoch(generator):
            done = (time.monotonic() - start) / seconds
            if done >= 1.0:
                break
            rate = PEAK_RATE * min((step + 1) / WARM_UP, 0.5 * (1 + math.cos(math.pi * done)) + 1e-3)
            for group in optimiser.param_groups:
                group["lr"] = rate
            loss, stats, _ = net(*batch)
            optimiser.zero_grad(set_to_none=True)
            loss.sum().backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimiser.step()
            step += 1
            decay = min(EMA, step / (step + 10))
            torch._foreach_lerp_(list(average.values()), list(current.values()), 1 - decay)
            if step % 200 == 0:
                shown = {
                    key: round(float(stats[key]), 3)
                    for key in ("loss_ctc", "loss_att", "loss_pre", "loss_alpha", "acc")
                }
                print(f"step {step} {done:.0%} rate {rate:.2e} {shown}", flush=True)
    print(f"{step} steps in {time.monotonic() - start:.0f} s", flush=True)
    return average


def fit(corpus_folder: Path, folder: Path, minutes: float, workers: int | None) -> None:
    """Features, vocabulary, CMVN, training, export, and the error rate on the held-out speech."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    feats, texts = read_corpus(corpus_folder / "train.npz", workers)
    tokens, segments = write_vocabulary(folder, texts)
    common = (write_cmvn(folder / "am.mvn", feats), tokens, segments, device)
    print(f"{len(texts)} utterances, {len(tokens)} tokens, features ready", flush=True)
    net = build(len(tokens), training=True).to(device)
    average = optimise(net, Corpus(feats, texts, *common), 60 * minutes)
    weights = {n: value.cpu().clone() for n, value in average.items() if not n.startswith("ctc.")}
    torch.save(weights, folder / "model.pt")
    write_configuration(folder)
    final = build(len(tokens), training=False).to(device)
    final.load_state_dict(weights, strict=True)
    print(sum(value.numel() for value in weights.values()), "parameters")
    held_out = Corpus(*read_corpus(corpus_folder / "held_out.npz", workers), *common)
    print("held out:", held_out_error_rate(final, held_out), flush=True)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--minutes", type=float, default=3.0, help="of training, features not counted")
    parser.add_argument("--workers", type=int, default=None)
    arguments = parser.parse_args()
    fit(arguments.corpus, arguments.model, arguments.minutes, arguments.workers)


if __name__ == "__main__":
    main()
