"""sentence-transformers' modules.json: where the encoder is, how it is pooled, whether vectors are normalised."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from embedge.bundle.manifest import Pooling, Task
from embedge.errors import CheckpointError
from embedge_export.checkpoint.json_file import read_json, read_json_value

# Where the library's own classes are: its versions 0.3 to 5.3 name sentence_transformers.models.Pooling, later ones
# sentence_transformers.sentence_transformer.modules.pooling.Pooling (util/deprecated_import.py maps one to the other).
_OWN = re.compile(
    r"sentence_transformers\.(models|base\.modules|(sentence_transformer|cross_encoder)\.modules)(\.\w+)?\.(?P<kind>\w+)"
)
_KINDS: Mapping[Task, tuple[tuple[str, ...], ...]] = {
    "embed": (("Transformer", "Pooling"), ("Transformer", "Pooling", "Normalize")),
    "rerank": (("Transformer",),),
}
# sentence-transformers 1 saved the encoder in a folder of its own.
_OWN_FOLDER = "0_Transformer"
# sentence-transformers 5 writes one pooling_mode; before, one boolean for each.
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
    """What a checkpoint's vectors go through.

    Attributes:
        file: modules.json; it may not exist.
        kinds: its classes, in order; None where it does not exist.
        encoder: the folder with config.json, tokenizer and weights.
        pooling: the pooling's config; it may not exist.
        normalize: whether vectors are scaled to length 1.
    """

    file: Path
    kinds: tuple[str, ...] | None
    encoder: Path
    pooling: Path
    normalize: bool


def read_modules(root: Path) -> ModuleList:
    """What modules.json says; without one, what BGE's would.

    Raises:
        CheckpointError: it cannot be read, or names a class that is not sentence-transformers' own.
    """
    file = root / "modules.json"
    found = read_json_value(file)
    if found is None:
        apart = root / _OWN_FOLDER
        encoder = apart if (apart / "config.json").is_file() and not (root / "config.json").is_file() else root
        pooling = root / "1_Pooling" / "config.json"
        return ModuleList(file=file, kinds=None, encoder=encoder, pooling=pooling, normalize=True)
    if not isinstance(found, list) or not all(isinstance(module, dict) for module in found):
        raise CheckpointError(f"{file} must hold a list of modules; get the checkpoint again")
    kinds = tuple(_kind(file, module) for module in found)
    folders = {kind: _folder(file, module) for kind, module in zip(kinds, found, strict=True)}
    return ModuleList(
        file=file,
        kinds=kinds,
        encoder=folders.get("Transformer", root),
        pooling=folders.get("Pooling", root / "1_Pooling") / "config.json",
        normalize="Normalize" in kinds,
    )


def check_modules(modules: ModuleList, task: Task) -> None:
    """Raises CheckpointError where a bundle cannot do what the modules do: it has no layers after pooling."""
    if modules.kinds is None or modules.kinds in _KINDS[task]:
        return
    known = {kind for kinds in _KINDS[task] for kind in kinds}
    if unknown := [kind for kind in modules.kinds if kind not in known]:
        raise CheckpointError(
            f"{modules.file} has a {unknown[0]} layer; only {', '.join(sorted(known))} can be exported"
        )
    wanted = " or ".join(" + ".join(kinds) for kinds in _KINDS[task])
    raise CheckpointError(
        f"{modules.file} must be {wanted}, found {' + '.join(modules.kinds) or 'nothing'}; choose another checkpoint"
    )


def _kind(file: Path, module: Mapping[str, object]) -> str:
    """The name of a module's class."""
    name = module.get("type")
    own = _OWN.fullmatch(name) if isinstance(name, str) else None
    if own is None:
        raise CheckpointError(
            f"{file} has the module {name!r}, which is not sentence-transformers' own; code of a checkpoint's own "
            "cannot be exported, choose another checkpoint"
        )
    if module.get("kwargs"):
        raise CheckpointError(f"{file} gives {name} the arguments {module['kwargs']!r}, which cannot be exported")
    return own["kind"]


def _folder(file: Path, module: Mapping[str, object]) -> Path:
    path = module.get("path", "")
    if not isinstance(path, str) or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise CheckpointError(f"{file} has a module at {path!r}, which is no folder in it; get the checkpoint again")
    return file.parent / path


def read_pooling(path: Path, otherwise: Pooling | None) -> Pooling:
    """How hidden states are pooled, by a pooling's config.

    Args:
        path: of the config.
        otherwise: what it is where there is no such file; None is an error.

    Raises:
        CheckpointError: it cannot be exported, or is not known.
    """
    found, folder = read_json(path), path.parent.parent
    if found is None:
        if otherwise is None:
            raise CheckpointError(
                f"{folder} does not say how it pools (no {path.parent.name}/config.json); "
                "add `--like RECIPE` with the recipe it was fine-tuned from, such as `--like bge-small-en-v1.5`"
            )
        return otherwise
    modes = found.get("pooling_mode")
    if modes is None:
        flags = {key: value for key, value in found.items() if key.startswith("pooling_mode_")}
        if odd := [key for key, value in flags.items() if not isinstance(value, bool)]:  # they count if they are true
            raise CheckpointError(f"{path}: {odd[0]} must be true or false, found {flags[odd[0]]!r}; mend it")
        modes = [key for key, value in flags.items() if value]
    modes = [modes] if isinstance(modes, str) else modes
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise CheckpointError(
            f"{folder} pools by {' + '.join(modes) or 'nothing'}; only cls, mean or last can be exported"
        )
    if found.get("include_prompt") is False:
        raise CheckpointError(f"{folder} leaves the prompt out of its pooling, which cannot be exported")
    return _POOLINGS[modes[0]]
