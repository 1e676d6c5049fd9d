"""What was written down when a model was converted: its conversion.json, for whoever looks at its source."""

from __future__ import annotations

from pathlib import Path

from mlx_model.errors import ConfigError
from reports.schema import ConversionReport, read

NAME = "conversion.json"


def conversion_of(model: Path) -> ConversionReport | None:
    """Return the report of a converted directory's conversion, None where there is none.

    Raises:
        ConfigError: the file is no report of a conversion.
    """
    path = model / NAME
    if not path.is_file():
        return None
    try:
        report = read(path)
    except ValueError as error:
        raise ConfigError(f"{error}; convert the source again, or delete the file") from error
    if not isinstance(report, ConversionReport):
        raise ConfigError(f"{path}: not the report of a conversion; convert the source again, or delete the file")
    return report
