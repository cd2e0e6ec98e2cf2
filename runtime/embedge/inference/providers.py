"""ONNX Runtime execution providers, and their options."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from embedge.errors import InputTypeError, ProviderError

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"


@dataclass(frozen=True, slots=True)
class Provider:
    """An execution provider and its options.

    Attributes:
        name: ONNX Runtime's name of it, such as ``CUDAExecutionProvider``.
        options: its options, by ONNX Runtime's names, such as ``{"device_id": "0"}``.
    """

    name: str
    options: Mapping[str, str] = field(default_factory=dict)


CPU_ONLY = (Provider(CPU),)


def check_providers(providers: Iterable[str]) -> tuple[Provider, ...]:
    """Return the providers if each of them is available.

    Raises:
        ProviderError: a provider is not available; the message lists those that are, and says how to get CUDA.
        InputTypeError: the argument is not a list of names.
    """
    # A set has no order, and the order matters. A dictionary would hold options, which are not supported.
    if isinstance(providers, str | set | frozenset | Mapping) or not isinstance(providers, Iterable):
        raise InputTypeError(f"providers must be a list of names, found {providers!r}; pass, for example, [{CPU!r}]")
    providers = tuple(providers)
    from onnxruntime import get_available_providers

    available = get_available_providers()
    for provider in providers:
        if not isinstance(provider, str):
            raise InputTypeError(f"providers must be names, found {provider!r}; pass, for example, {CPU!r}")
        if provider not in available:
            install = "run `pip uninstall onnxruntime`, then `pip install onnxruntime-gpu`"
            remedy = install if provider == CUDA else "use one of these"
            raise ProviderError(f"{provider} is not in this onnxruntime, which has {', '.join(available)}; {remedy}")
    if not providers:
        raise ProviderError(f"providers is empty; remove it for the CPU, or use some of {', '.join(available)}")
    return tuple(map(Provider, providers))
