"""Files on this machine: written whole or not at all, locked, named, told by their content. No array, no model."""
