"""Hatchling's hook: compiled code goes into a wheel. Imported where one is built, and not part of it."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledCode(BuildHookInterface):
    """Compiles the C files for a wheel; an editable install compiles at first use, as its sources change."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the libraries, and the platform that they are for."""
        if version == "editable":
            return
        sys.path.insert(0, self.root)  # this source, whichever mlx_model is installed
        from mlx_model.machine import prebuilt

        self.folder = Path(tempfile.mkdtemp(prefix="mlx-funasr-wheel-"))
        made = prebuilt.build(self.folder, self.app.display_info)
        if made:
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{prebuilt.platform_tag(made.values())}"
            build_data["force_include"].update({str(path): inside for inside, path in made.items()})

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled: the wheel has it now."""
        if version != "editable":
            shutil.rmtree(self.folder, ignore_errors=True)
