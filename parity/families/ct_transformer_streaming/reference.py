"""FunASR's CTTransformerStreaming, recorded: a text in calls, parted by `|`, on one cache. Beside torch."""

from __future__ import annotations

from typing import ClassVar

from parity.families.ct_transformer import reference


class Reference(reference.Reference):
    """Both precisions of one FunASR CTTransformerStreaming."""

    STREAM: ClassVar[bool] = True
