"""Reads sentence-transformers' modules.json: the encoder's folder, the pooling, and whether vectors are normalised."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from embedge.bundle.manifest import Pooling, Task
from embedge.errors import CheckpointError
from embedge_export.checkpoint.json_file import read_json, read_json_value

# The paths of the library's own classes: versions 0.3 to 5.3 write sentence_transformers.models.Pooling, later ones
# sentence_transformers.sentence_transformer.modules.pooling.Pooling (util/deprecated_import.py maps one to the other).
_LIBRARY_CLASS = re.compile(
    r"sentence_transformers\.(models|base\.modules|(sentence_transformer|cross_encoder)\.modules)(\.\w+)?\.(?P<kind>\w+)"
)
# The sequences of modules that a bundle can run.
_SUPPORTED: Mapping[Task, tuple[tuple[str, ...], ...]] = {
    "embed": (("Transformer", "Pooling"), ("Transformer", "Pooling", "Normalize")),
    "rerank": (("Transformer",),),
}
_OLD_ENCODER_FOLDER = "0_Transformer"  # of sentence-transformers 1
# sentence-transformers 5 writes one pooling_mode; earlier versions write one boolean for each mode.
_POOLINGS: Mapping[str, Pooling] = {
    "cls": "cls",
    "mean": "mean",
    "lasttoken": "last",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleList:
    """The modules that a checkpoint computes its vectors with.

    Attributes:
        file: path of modules.json, which may not exist.
        kinds: the modules' class names, in order; None if the file does not exist.
        encoder: the folder with config.json, tokenizer and weights.
        pooling: path of the pooling's config, which may not exist.
        normalize: whether vectors are scaled to length 1.
    """

    file: Path
    kinds: tuple[str, ...] | None
    encoder: Path
    pooling: Path
    normalize: bool


def read_modules(root: Path) -> ModuleList:
    """Return the modules of a checkpoint; if it has no modules.json, the modules of the BGE models.

    Raises:
        CheckpointError: the file cannot be read, or names a class that is not part of sentence-transformers.
    """
    file = root / "modules.json"
    modules = read_json_value(file)
    if modules is None:
        return _default_modules(root, file)
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise CheckpointError(f"{file} must hold a list of modules; download or copy the checkpoint again")
    kinds = tuple(_class_name(file, module) for module in modules)
    folders = {kind: _module_folder(file, module) for kind, module in zip(kinds, modules, strict=True)}
    return ModuleList(
        file=file,
        kinds=kinds,
        encoder=folders.get("Transformer", root),
        pooling=folders.get("Pooling", root / "1_Pooling") / "config.json",
        normalize="Normalize" in kinds,
    )


def _default_modules(root: Path, file: Path) -> ModuleList:
    old = root / _OLD_ENCODER_FOLDER
    has_old_layout = (old / "config.json").is_file() and not (root / "config.json").is_file()
    return ModuleList(
        file=file,
        kinds=None,
        encoder=old if has_old_layout else root,
        pooling=root / "1_Pooling" / "config.json",
        normalize=True,
    )


def check_modules(modules: ModuleList, task: Task) -> None:
    """Raise CheckpointError if a bundle cannot run the modules: it has no layers after pooling."""
    if modules.kinds is None or modules.kinds in _SUPPORTED[task]:
        return
    known = {kind for kinds in _SUPPORTED[task] for kind in kinds}
    if unknown := [kind for kind in modules.kinds if kind not in known]:
        raise CheckpointError(
            f"{modules.file} has a {unknown[0]} layer, and only {', '.join(sorted(known))} can be exported; choose "
            "another checkpoint"
        )
    supported = " or ".join(" + ".join(kinds) for kinds in _SUPPORTED[task])
    raise CheckpointError(
        f"{modules.file} must be {supported}, found {' + '.join(modules.kinds) or 'nothing'}; choose another checkpoint"
    )


def _class_name(file: Path, module: Mapping[str, object]) -> str:
    """Return the name of a module's class, without its path."""
    name = module.get("type")
    match = _LIBRARY_CLASS.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise CheckpointError(
            f"{file} has the module {name!r}, which is not part of sentence-transformers; the exporter runs no code of "
            "a checkpoint, choose another one"
        )
    if module.get("kwargs"):
        raise CheckpointError(
            f"{file} gives {name} the arguments {module['kwargs']!r}, which cannot be exported; choose another "
            "checkpoint"
        )
    return match["kind"]


def _module_folder(file: Path, module: Mapping[str, object]) -> Path:
    path = module.get("path", "")
    if not isinstance(path, str) or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise CheckpointError(
            f"{file} has a module at {path!r}, which is not a folder in the checkpoint; download or copy the "
            "checkpoint again"
        )
    return file.parent / path


def read_pooling(path: Path, default: Pooling | None) -> Pooling:
    """Return how the hidden states of a text are pooled.

    Args:
        path: path of the pooling's config.
        default: the pooling if this file does not exist; None makes that an error.

    Raises:
        CheckpointError: the pooling is not known, or cannot be exported.
    """
    config, folder = read_json(path), path.parent.parent
    if config is None:
        if default is None:
            raise CheckpointError(
                f"{folder} does not say how it pools (it has no {path.parent.name}/config.json); "
                "add `--like RECIPE` with the recipe it was fine-tuned from, such as `--like bge-small-en-v1.5`"
            )
        return default
    modes = _pooling_modes(path, config)
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise CheckpointError(
            f"{folder} pools by {' + '.join(modes) or 'nothing'}, and only cls, mean or last can be exported; choose "
            "another checkpoint"
        )
    if config.get("include_prompt") is False:
        raise CheckpointError(
            f"{folder} leaves the prompt out of its pooling, which cannot be exported; choose another checkpoint"
        )
    return _POOLINGS[modes[0]]


def _pooling_modes(path: Path, config: Mapping[str, Any]) -> list[str]:
    """Return the names of the modes that a pooling's config turns on."""
    modes = config.get("pooling_mode")
    if modes is None:
        flags = {key: value for key, value in config.items() if key.startswith("pooling_mode_")}
        # sentence-transformers turns a mode on for any true value, such as the text "false".
        if odd := [key for key, value in flags.items() if not isinstance(value, bool)]:
            raise CheckpointError(f"{path}: {odd[0]} must be true or false, found {flags[odd[0]]!r}; correct the file")
        return [key for key, value in flags.items() if value]
    return [modes] if isinstance(modes, str) else modes
