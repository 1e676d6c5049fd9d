"""Character error rates: read a test set, transcribe it, score it, say how sure the number is.

Importing this package must load neither mlx, torch nor funasr; the engines are opened when an evaluation starts.
`evaluate` and `compare` here are the functions: they are bound after their modules of the same name, so
`parity.cer.evaluate(...)` works.
"""

from parity.cer.compare import compare
from parity.cer.datasets import Dataset, Utterance, read_dataset
from parity.cer.evaluate import evaluate
from parity.cer.files import score_files
from parity.cer.normalize import NORMALIZERS, Normalizer
from parity.cer.score import Score, score

__all__ = [
    "NORMALIZERS",
    "Dataset",
    "Normalizer",
    "Score",
    "Utterance",
    "compare",
    "evaluate",
    "read_dataset",
    "score",
    "score_files",
]
