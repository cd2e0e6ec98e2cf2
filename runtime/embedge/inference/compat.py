"""Keywords that callers of sentence-transformers' ``encode`` write, so that a changed import does not break them.

What cannot be honoured is refused, with what to write instead. Nothing is accepted and then ignored.
"""

from collections.abc import Sequence

from embedge.errors import InputValueError
from embedge.inference.options import check_bool
from embedge.inference.providers import CPU, CUDA


def choose_normalize(
    normalize: bool | None, normalize_embeddings: bool | None, truncate_dim: int | None, *, module: bool
) -> bool:
    """Whether vectors are scaled to length 1, of our option and of sentence-transformers' name for it.

    Theirs asks for scaling *beside* what the model's own modules do. With a ``Normalize`` among these, as nearly all
    have it, vectors have length 1 with False, too, unless they were truncated afterwards.

    Args:
        normalize: our option; None is what the model's modules do.
        normalize_embeddings: theirs; None is not given.
        truncate_dim: how many dimensions are kept; None is all.
        module: whether the model has a ``Normalize`` module.

    >>> choose_normalize(None, False, None, module=True), choose_normalize(None, True, None, module=False)
    (True, True)

    Raises:
        InputTypeError: either is of another type.
        InputValueError: the two contradict each other, or False cannot be honoured.
    """
    chosen = None if normalize is None else check_bool("normalize", normalize)
    if normalize_embeddings is None:
        return module if chosen is None else chosen
    asked = check_bool("normalize_embeddings", normalize_embeddings)
    if asked and chosen is False:
        raise InputValueError("normalize_embeddings=True contradicts normalize=False; leave one of them out")
    if asked:
        return True
    wanted = module if chosen is None else chosen
    if wanted and truncate_dim is not None:
        raise InputValueError(
            "normalize_embeddings=False with truncate_dim leaves vectors that are neither of length 1 nor as the model "
            "pooled them; leave it out, or pass normalize=False for the latter"
        )
    return wanted


def check_arrays(convert_to_numpy: bool, convert_to_tensor: bool) -> None:
    """Raises InputValueError where torch's tensors are asked for, InputTypeError where one is not True or False."""
    if check_bool("convert_to_tensor", convert_to_tensor) or not check_bool("convert_to_numpy", convert_to_numpy):
        found = "convert_to_tensor=True" if convert_to_tensor else "convert_to_numpy=False"
        raise InputValueError(
            f"{found} asks for torch's tensors, and embedge returns numpy's arrays; leave it out, and "
            "torch.from_numpy(vectors) makes a tensor"
        )


def check_device(device: object, providers: Sequence[str]) -> None:
    """Raises InputValueError where a device is named that the model does not run on.

    Args:
        device: None, a name such as ``"cpu"``, or a torch device, whose text is its name.
        providers: ONNX Runtime's, of the model.
    """
    if device is None or (str(device) == "cpu" and tuple(providers) == (CPU,)):
        return
    raise InputValueError(
        f"device={str(device)!r} is not where this model runs ({', '.join(providers)}); loading it decides that: "
        f"Embedder(model) for the CPU, Embedder(model, providers=[{CUDA!r}, {CPU!r}]) for CUDA"
    )
