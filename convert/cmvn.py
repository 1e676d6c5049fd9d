"""am.mvn: mean shift and variance scale of the features, in Kaldi's nnet text. Pure numpy; no torch, no mlx.

    <Nnet>
    <Splice> 560 560
    [ 0 ]
    <AddShift> 560 560
    <LearnRateCoef> 0 [ -10.5 ... ]
    <Rescale> 560 560
    <LearnRateCoef> 0 [ 0.18 ... ]
    </Nnet>

FunASR reads lines and takes fields by position; this reader works on tokens, so line breaks are free, and the Splice
block's own bracket is never taken for the shift. The numbers are the same bits (text -> float64 -> float32).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convert.yaml_file import read_text
from mlx_model.errors import AssetError

SIZE_LIMIT = 4_000_000  # bytes; the released files have 11 kB


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmvn:
    """features -> (features + shift) * scale; both (lfr_m * n_mels,), float32."""

    shift: np.ndarray
    scale: np.ndarray


def read_cmvn(path: Path, width: int) -> Cmvn:
    """Return the CMVN of a front end whose feature vectors are `width` wide.

    Mirrors funasr/frontends/wav_frontend.py::load_cmvn.

    Raises:
        AssetError: not Kaldi nnet text, a component missing or repeated, a vector of the wrong length, or NaN.
    """
    tokens = read_text(path, SIZE_LIMIT, AssetError).replace("[", " [ ").replace("]", " ] ").split()
    if not tokens:
        raise AssetError(f"{path} is empty; expected Kaldi nnet text starting with <Nnet>")
    if tokens[0] != "<Nnet>":
        raise AssetError(f"{path} starts with {tokens[0][:20]!r}; expected Kaldi nnet text starting with <Nnet>")
    vectors: dict[str, np.ndarray] = {}
    for tag, declared, values in _components(path, iter(tokens[1:])):
        if tag in vectors:
            raise AssetError(f"{path} has two {tag} components")
        vectors[tag] = _vector(path, tag, declared, values, width)
    for tag in ("<AddShift>", "<Rescale>"):
        if tag not in vectors:
            raise AssetError(f"{path} has no {tag} component; expected <AddShift> and <Rescale>")
    return Cmvn(shift=vectors["<AddShift>"], scale=vectors["<Rescale>"])


def _components(path: Path, tokens: Iterator[str]) -> Iterator[tuple[str, int, list[str]]]:
    """Yield (tag, declared width, values) of AddShift and Rescale; skip Splice; stop at </Nnet>."""
    for tag in tokens:
        if tag == "</Nnet>":
            rest = next(tokens, None)
            if rest is not None:
                raise AssetError(f"{path} goes on after </Nnet> with {rest[:20]!r}")
            return
        if tag not in ("<Splice>", "<AddShift>", "<Rescale>"):
            raise AssetError(f"{path}: found {tag[:20]!r} where <Splice>, <AddShift>, <Rescale> or </Nnet> is expected")
        out_width, in_width = _integer(path, tag, tokens), _integer(path, tag, tokens)
        if out_width != in_width:
            raise AssetError(f"{path}: {tag} {out_width} {in_width} changes the width, which FunASR does not do")
        values = _bracket(path, tag, tokens)
        if tag != "<Splice>":
            yield tag, out_width, values
        elif values != ["0"]:
            raise AssetError(f"{path}: <Splice> of frames {' '.join(values[:8])}; only [ 0 ] (none) is supported")
    raise AssetError(f"{path} ends before </Nnet>; it is truncated")


def _integer(path: Path, tag: str, tokens: Iterator[str]) -> int:
    token = next(tokens, "the end of the file")
    if not token.isascii() or not token.isdigit():
        raise AssetError(f"{path}: {tag} is followed by {token[:20]!r}, expected its width")
    return int(token[:12])


def _bracket(path: Path, tag: str, tokens: Iterator[str]) -> list[str]:
    """Return what stands in the component's brackets, after an optional <LearnRateCoef> and its number."""
    token = next(tokens, None)
    if token == "<LearnRateCoef>":
        rate = next(tokens, "the end of the file")
        try:
            float(rate)
        except ValueError as error:
            raise AssetError(
                f"{path}: <LearnRateCoef> of {tag} is followed by {rate[:20]!r}, expected a number"
            ) from error
        token = next(tokens, None)
    if token != "[":
        raise AssetError(
            f"{path}: {tag} is followed by {(token or 'the end of the file')[:20]!r}, expected '[' and values"
        )
    values = []
    for token in tokens:
        if token == "]":
            return values
        if token == "[" or token.startswith("<"):
            raise AssetError(f"{path}: {tag} has no closing ']' before {token[:20]!r}")
        values.append(token)
    raise AssetError(f"{path}: {tag} has no closing ']'; the file is truncated")


def _vector(path: Path, tag: str, declared: int, values: list[str], width: int) -> np.ndarray:
    if len(values) != declared:
        raise AssetError(f"{path}: {tag} announces {declared} values and has {len(values)}")
    try:
        # Text -> float64 -> float32, as numpy casts FunASR's array of text.
        with np.errstate(over="ignore"):  # infinities are looked for below, and named
            vector = np.array([_number(value) for value in values], dtype=np.float64).astype(np.float32)
    except ValueError as error:
        raise AssetError(f"{path}: {tag}: {error}") from error
    if not np.isfinite(vector).all():
        where = int(np.flatnonzero(~np.isfinite(vector))[0])
        raise AssetError(f"{path}: {tag}: value {where} is {values[where]!r}, not a finite float32")
    if (
        declared > width
        and declared % width == 0
        and np.array_equal(vector, np.tile(vector[:width], declared // width))
    ):
        return vector[:width]  # one frame's values repeated for stacked frames; FunASR too takes the first `width`
    if declared != width:
        hint = " (values of single frames, where the front end stacks lfr_m of them)" if width % declared == 0 else ""
        raise AssetError(
            f"{path}: {tag} has {declared} values{hint}, but config.yaml's features are {width} wide (n_mels * lfr_m); "
            "the file belongs to another front end"
        )
    return vector


def _number(text: str) -> float:
    if "_" in text or not text.isascii():  # float() takes 1_000 and other digits; am.mvn has neither
        raise ValueError(f"could not convert string to float: {text[:20]!r}")
    return float(text)
