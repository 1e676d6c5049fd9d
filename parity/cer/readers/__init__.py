"""The kinds of test sets that can be read: one table, one file per kind. Stdlib and mlx_model.errors only.

Lhotse has recipes for most of these corpora, and was read before these files were written. It is not used because its
job is another one: its recipes *prepare* training data, so they open every recording to learn its length, rewrite the
transcripts as they go (upper case, no spaces, some punctuation gone) and drop what does not fit with a log line, where
a test set must be read as it is and every loss counted or refused. It would also bring torch (a hard dependency of
1.33) into a package that must run without it, and it has no reader for FunASR's or WeNet's lists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from parity.cer.readers import aishell, aishell2, jsonl, kaldi, librispeech, manifest, wenet, wenetspeech
from parity.cer.readers.testset import Dataset, Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One way in which test sets lie on disk.

    `find(path)` returns what a folder or file holds of this kind (the paths that `read` takes; none is []), without
    raising. `one_file` says that it is a single list, which may then have any name where the kind is given.
    """

    name: str
    title: str
    layout: str
    find: Callable[[Path], list[Path]]
    read: Callable[[Path, Options], Dataset]
    one_file: bool = False
    has_parts: bool = False


# In the order in which a folder that is several kinds at once is read.
KINDS: tuple[Kind, ...] = (
    Kind(
        name="aishell",
        title="an AISHELL-1 tree",
        layout="wav/ and transcript/, or a folder inside its wav/",
        find=aishell.find,
        read=aishell.read,
    ),
    Kind(
        name="aishell2",
        title="an AISHELL-2 tree",
        layout="wav.scp and trans.txt, or iOS/data, iOS/dev, ... with them",
        find=aishell2.find,
        read=aishell2.read,
    ),
    Kind(
        name="librispeech",
        title="a LibriSpeech tree",
        layout="SPLIT/SPEAKER/CHAPTER/*.trans.txt beside *.flac, or a folder of it",
        find=librispeech.find,
        read=librispeech.read,
    ),
    Kind(
        name="kaldi",
        title="a Kaldi data directory",
        layout="wav.scp and text; segments, utt2spk, utt2dur where there are any",
        find=kaldi.find,
        read=kaldi.read,
    ),
    Kind(
        name="wenetspeech",
        title="WenetSpeech's JSON",
        layout="WenetSpeech.json#SUBSET, for example #TEST_NET",
        find=wenetspeech.find,
        read=wenetspeech.read,
        one_file=True,
        has_parts=True,
    ),
    Kind(
        name="wenet",
        title="a WeNet list",
        layout="data.list: lines with key, wav, txt, or paths of shards (*.tar)",
        find=wenet.find,
        read=wenet.read,
        one_file=True,
    ),
    Kind(
        name="jsonl",
        title="a FunASR list",
        layout="*.jsonl with key, source, target",
        find=jsonl.find,
        read=jsonl.read,
        one_file=True,
    ),
    Kind(
        name="manifest",
        title="a manifest",
        layout="*.tsv, *.csv, *.jsonl with columns such as id, path, text, speaker",
        find=manifest.find,
        read=manifest.read,
        one_file=True,
    ),
)


def expected() -> str:
    """Return what can be read, for messages: one clause per kind."""
    return "; ".join(f"{kind.title} ({kind.layout})" for kind in KINDS) + "; or hf:ORG/NAME, ms:ORG/NAME"
