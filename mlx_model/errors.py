"""The project's exceptions. Stdlib only, so that every folder can raise them.

    MlxFunasrError            anything the user can mend; the command line prints it as one line and exits with 2
    ├── UsageError            options that contradict each other, or ask for what does not exist
    ├── ConfigError           config.yaml / config.json: unknown key, unsupported option, missing section
    ├── CheckpointError       weights: not a checkpoint, missing / surplus / misshapen tensors, hostile pickles
    ├── AssetError            am.mvn, tokens.json, bpe.model: missing, malformed, the wrong size
    ├── AudioError            one audio file cannot be used (the batch goes on without it)
    ├── DatasetError          a test set's lists cannot be read or contradict each other
    ├── OutputError           the result cannot be written, or would overwrite something
    └── DependencyError       an optional package is needed; the message names the extra to install

A message says what was found, where, what was expected, and what to do. A parity failure is a result, not an exception.
"""


class MlxFunasrError(Exception):
    """Base of all errors that are the user's to mend: one clear line, exit code 2."""


class UsageError(MlxFunasrError):
    """Options that contradict each other, or that name something which does not exist."""


class ConfigError(MlxFunasrError):
    """The model's configuration is incomplete, misspelt, or asks for something unsupported."""


class CheckpointError(MlxFunasrError):
    """The weights are not what the configuration says, or not weights at all."""


class AssetError(MlxFunasrError):
    """A file beside the weights (am.mvn, tokens.json, bpe.model) is missing or malformed."""


class AudioError(MlxFunasrError):
    """One audio file cannot be used; the message says why."""


class DatasetError(MlxFunasrError):
    """A test set's lists cannot be read, or contradict each other."""


class OutputError(MlxFunasrError):
    """The result cannot be written, or would overwrite something that is already there."""


class DependencyError(MlxFunasrError):
    """An optional package is needed for this; the message names the extra that installs it."""
