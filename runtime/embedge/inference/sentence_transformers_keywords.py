"""Keyword arguments of sentence-transformers' ``encode``, so that its users need to change only their import.

A value that embedge does not support raises an error that says what to write instead. No value is silently ignored.
"""

from embedge.errors import InputValueError
from embedge.inference.options import check_bool


def choose_normalize(
    normalize: bool | None, normalize_embeddings: bool | None, truncate_dim: int | None, *, module: bool
) -> bool:
    """Return whether to scale vectors to length 1, from our option and sentence-transformers' one.

    ``normalize_embeddings`` asks for scaling *in addition to* the model's own modules. Nearly all models have a
    ``Normalize`` module, so with False their vectors have length 1, too, unless they are truncated afterwards.

    Args:
        normalize: our option; None does what the model's modules do.
        normalize_embeddings: sentence-transformers' option; None if it was not passed.
        truncate_dim: how many dimensions to return; None returns all.
        module: whether the model has a ``Normalize`` module.

    >>> choose_normalize(None, False, None, module=True), choose_normalize(None, True, None, module=False)
    (True, True)

    Raises:
        InputTypeError: an option is not True, False or None.
        InputValueError: the two contradict each other, or embedge does not support ``normalize_embeddings=False`` here.
    """
    chosen = None if normalize is None else check_bool("normalize", normalize)
    if normalize_embeddings is None:
        return module if chosen is None else chosen
    asked = check_bool("normalize_embeddings", normalize_embeddings)
    if asked and chosen is False:
        raise InputValueError("normalize_embeddings=True contradicts normalize=False; pass only one of them")
    if asked:
        return True
    wanted = module if chosen is None else chosen
    if wanted and truncate_dim is not None:
        raise InputValueError(
            "normalize_embeddings=False with truncate_dim gives vectors that are neither of length 1 nor as the model "
            "pooled them; remove normalize_embeddings, or pass normalize=False for the pooled vectors"
        )
    return wanted


def check_arrays(convert_to_numpy: bool, convert_to_tensor: bool) -> None:
    """Raise InputValueError if a call asks for torch tensors, InputTypeError if an option is not True or False."""
    if check_bool("convert_to_tensor", convert_to_tensor) or not check_bool("convert_to_numpy", convert_to_numpy):
        option = "convert_to_tensor=True" if convert_to_tensor else "convert_to_numpy=False"
        raise InputValueError(
            f"{option} asks for torch tensors, and embedge returns numpy arrays; remove it, and call "
            "torch.from_numpy(vectors) for a tensor"
        )


def check_device(device: object, of_model: str) -> None:
    """Raise InputValueError if the model does not run on the device.

    Args:
        device: None, a name such as ``"cpu"``, or a torch device, whose ``str`` is its name.
        of_model: the model's device, such as ``"cpu"`` or ``"cuda:0"``, which ``"cuda"`` names, too.
    """
    if device is None or str(device) == of_model or (str(device) == "cuda" and of_model == "cuda:0"):
        return
    raise InputValueError(
        f"this model runs on {of_model}, found device={str(device)!r}; choose the device when you load the model: "
        "Embedder(model) for the CPU, Embedder(model, device='cuda') for CUDA"
    )
