"""Random command lines: the commands and options of the real command line, with values that fit, or do not.

Commands are read off Typer, so a new command or option is tried from the day it exists. What fits a parameter is told
by its name (FITTING); what does not is drawn from ODD and from the wrong inputs of the corpus.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fuzz.corpus import Corpus
from tests.fuzz.damage import damaged

ODD = (
    "", " ", "0", "1", "-1", "7", "nan", "inf", "-inf", "1e300", "1e-300", "99999999999999999999", "x", "你好", "a b",
    "../..", "/", "/dev/null", "/proc/self/mem", "/nonexistent/a/b", "n" * 300, "bad\udcff.wav", "a\nb", "[red]", "-",
    "--", "*", "hf:x/y/z", "hf:", "a@b@c", ".", "true", "None", "{}", "~", "tokens=-1", "cer=+nan", "char", "srt",
)  # fmt: skip
# These take many seconds even when all is well (FunASR's process, a search, several engines): they are always given
# something to refuse, which they must do at once.
HEAVY = ("parity run", "parity record", "parity selftest", "bench", "quantize", "demo", "doctor", "upload")
NEVER = ("--help", "--install-completion", "--show-completion")


def fitting(corpus: Corpus, folder: Path, command: str) -> dict[str, list[str]]:
    """Return values that fit, by a parameter's name."""
    return {
        "src": [str(corpus.source), str(corpus.vad_source), str(corpus.source / "model.pt")],
        "source": [str(corpus.source)],
        "model": [str(model) for model in models(corpus, command)],
        "punc": [str(corpus.marks)],
        "speakers": [str(corpus.voices)],
        "vad": [str(corpus.vad)],
        "base": [str(corpus.source)],
        "checkpoint": ["model.pt"],
        "out": [str(folder / "out"), str(folder / "new/deep/out")],
        "exports": [str(folder / "exports")],
        "trace": [str(folder / "trace") if command == "parity record" else str(corpus.trace)],
        "audio": [str(corpus.wav), *([str(corpus.audio)] if command.startswith(("parity", "quantize")) else [])],
        "more": [str(corpus.wav)],
        "first": [str(corpus.wav)],
        "second": [str(corpus.wav)],
        "ref": [str(corpus.turns)],
        "hyp": [str(corpus.turns)],
        "texts": ["今天天气"],
        "data": [str(corpus.data)],
        "directories": [str(corpus.run), str(corpus.parity)],
        "arguments": [],
        "parity": [str(corpus.parity)],
        "cer": [str(corpus.run)],
        "limit": ["1"],
        "format": ["text", "json", "tsv", "textgrid", "srt", "vtt"],
        "dtype": ["float32", "float16", "bfloat16"],
        "bits": ["8", "4"],
        "group_size": ["64", "32"],
        "normalize": ["aishell", "none", "wenet"],
        "unit": ["char", "word", "mixed"],
        "engine": ["mlx"],
        "budget": ["tokens=0", "cer=+0.1"],
        "workers": ["0"],
        "taps": ["encoder.encoders.0"],
        "stages": ["encoder"],
        "against": ["nobody"],
    }  # fmt: skip


def models(corpus: Corpus, command: str) -> list[Path]:
    """Return models of the role that a command asks for."""
    asked = {"vad": [corpus.model, corpus.vad], "punctuate": [corpus.marks], "speakers": [corpus.voices]}
    return asked.get(command.split()[0], [corpus.model])


CER = (
    ("{model}", "{data}"), ("{model}", "{listing}"), ("score", "{ref}", "{hyp}"), ("compare", "{run}", "{run}"),
    ("{model}",), ("score", "{ref}"), ("{vad}", "{data}"), ("{source}", "{data}"), ("score", "{wav}", "{model}"),
)  # fmt: skip


def leaves(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (name, click command) of every command."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


class Writer:
    """Writes command lines, one after the other, from a seed."""

    def __init__(self, corpus: Corpus, rng: random.Random):
        import typer.main

        import mlx_funasr

        self._corpus, self._rng = corpus, rng
        self._commands = dict(leaves(typer.main.get_command(mlx_funasr.app)))
        self._light = sorted(self._commands.keys() - set(HEAVY))

    def next(self, folder: Path) -> list[str]:
        """Return one command's words; what it reads and may write lies in `folder`, or in the corpus."""
        rng = self._rng
        name = rng.choice(self._light if rng.random() < 0.8 else sorted(self._commands))
        command = self._commands[name]
        values = fitting(self._corpus, folder, name)
        odd = 0.5 if name in HEAVY else rng.choice((0.0, 0.0, 0.15))
        words = name.split()
        required = [part for part in command.params if part.param_type_name == "argument"]
        for part in required:
            words += self._argument(name, part, values, odd, folder)
        options = [part for part in command.params if part.param_type_name == "option" and part.opts[0] not in NEVER]
        for part in rng.sample(options, min(len(options), rng.choice((0, 1, 1, 2, 4)))):
            words += self._option(part, values, max(odd, 0.3))
        if name in HEAVY:
            words.append(rng.choice(("--no-such-option", "--limit=-1", f"--out={self._corpus.wav}", "--json=maybe")))
        return words

    def _argument(self, name: str, part: Any, values: dict[str, list[str]], odd: float, folder: Path) -> list[str]:
        if name == "cer":
            names = {key: str(getattr(self._corpus, key)) for key in self._corpus.__slots__}
            words = [word.format(**names) for word in self._rng.choice(CER)]
        else:
            words = [self._rng.choice(values.get(part.name, ["x"]))]
        return [self._exchanged(word, odd, folder) for word in words]

    def _exchanged(self, word: str, odd: float, folder: Path) -> str:
        """Return the word, or one that does not fit, or the same input damaged."""
        chance = self._rng.random()
        if chance < odd:
            every = [str(getattr(self._corpus, key)) for key in self._corpus.__slots__]
            return self._rng.choice((*ODD, *every))
        path = Path(word)
        if chance < 0.6 and path.is_absolute() and path.exists():
            return str(self._damaged(path, folder))
        return word

    def _damaged(self, path: Path, folder: Path) -> Path:
        """Return a copy of a file or a directory in `folder`, one file of it damaged."""
        copy = folder / f"damaged-{path.name}"
        if copy.exists():
            return copy
        if path.is_file():
            copy.write_bytes(damaged(path.name, path.read_bytes(), self._rng))
            return copy
        shutil.copytree(path, copy)
        inside = sorted(file for file in copy.rglob("*") if file.is_file())
        chosen = self._rng.choice(inside)
        if self._rng.random() < 0.1:
            chosen.unlink()
        else:
            chosen.write_bytes(damaged(chosen.name, chosen.read_bytes(), self._rng))
        return copy

    def _option(self, part: Any, values: dict[str, list[str]], odd: float) -> list[str]:
        spelling = self._rng.choice([*part.opts, *part.secondary_opts])
        if part.is_flag:
            return [spelling]
        fits = values.get(part.name) or ["1", "2"]
        value = self._rng.choice(ODD) if self._rng.random() < odd else self._rng.choice(fits)
        return [spelling, value]
