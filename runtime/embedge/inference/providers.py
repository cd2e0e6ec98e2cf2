"""ONNX Runtime's execution providers, by name."""

from collections.abc import Iterable, Mapping

from embedge.errors import InputTypeError, ProviderError

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


def check_providers(providers: Iterable[str]) -> tuple[str, ...]:
    """The providers, each of them available.

    Raises:
        ProviderError: one is not; the message says which are, and what brings CUDA.
        InputTypeError: they are no list of names.
    """
    # The first is tried first; a dictionary would hold options, which are not taken.
    if isinstance(providers, str | set | frozenset | Mapping) or not isinstance(providers, Iterable):
        raise InputTypeError(f"providers must be a list of names, found {providers!r}; such as [{CPU!r}]")
    providers = tuple(providers)
    from onnxruntime import get_available_providers

    available = get_available_providers()
    for provider in providers:
        if not isinstance(provider, str):
            raise InputTypeError(f"providers must be names, found {provider!r}; such as {CPU!r}")
        if provider not in available:
            hint = "; `pip install onnxruntime-gpu` brings CUDA" if provider == CUDA else ""
            raise ProviderError(f"{provider} is not in this onnxruntime, which has {', '.join(available)}{hint}")
    if not providers:
        raise ProviderError(f"providers is empty; leave it out for the CPU, or name some of {', '.join(available)}")
    return providers
