"""The families there are: THE list, one line a family. Stdlib only; imports nothing of ours, loads no family.

Everything else of a family is found by its name: `mlx_model.config.NAME` (its one subclass of ModelConfig),
`mlx_model.models.NAME` (`Model`), `convert.architectures.NAME` (`TABLE`) and `parity.families.NAME`.
`tests/test_families.py` fails until all of them are there.
"""

from __future__ import annotations

import importlib
from types import ModuleType

# model_type (config.json, and the name of every module of the family) -> FunASR's class (config.yaml's `model:`)
FAMILIES: dict[str, str] = {
    "paraformer": "Paraformer",
    "fsmn_vad_streaming": "FsmnVADStreaming",
    "sense_voice": "SenseVoiceSmall",
    "bicif_paraformer": "BiCifParaformer",
    "seaco_paraformer": "SeacoParaformer",
    "contextual_paraformer": "ContextualParaformer",
    "monotonic_aligner": "MonotonicAligner",
    "paraformer_streaming": "ParaformerStreaming",
    "ct_transformer": "CTTransformer",
    "ct_transformer_streaming": "CTTransformerStreaming",
    "campplus": "CAMPPlus",
    "eres2net_v2": "ERes2NetV2",
}


def module_of(folder: str, family: str) -> ModuleType:
    """Return what one folder holds of a family: `module_of("mlx_model.models", "paraformer")`.

    Raises:
        LookupError: the family stands in the list, but this piece of it was not written: a bug, not the user's to mend.
    """
    name = f"{folder}.{family}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # the piece is there; something that it imports is not
            raise
        raise LookupError(f"{family!r} stands in mlx_model/families.py, but there is no {name}") from error
