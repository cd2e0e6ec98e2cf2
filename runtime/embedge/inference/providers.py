"""ONNX Runtime execution providers, and their options: what the caller asks for, checked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from embedge.errors import InputTypeError, InputValueError, ProviderError, short

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
# What to do, in errors about a device.
ON_CPU = "remove device and providers to run on the CPU"

# ONNX Runtime's own way to pass a provider: its name, or its name and options.
ProviderArgument: TypeAlias = str | tuple[str, Mapping[str, str | int | float | bool]]


@dataclass(frozen=True, slots=True)
class Provider:
    """An execution provider and its options.

    Attributes:
        name: ONNX Runtime's name of it, such as ``CUDAExecutionProvider``.
        options: its options, by ONNX Runtime's names, such as ``{"device_id": "0"}``.
    """

    name: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def argument(self) -> tuple[str, dict[str, str]]:
        """The pair of name and options that ONNX Runtime and ``choose_providers`` take."""
        return self.name, dict(self.options)


CPU_ONLY = (Provider(CPU),)


def choose_providers(device: object, providers: Iterable[ProviderArgument] | None) -> tuple[Provider, ...]:
    """Return the providers that the caller asks for, the preferred one first; the CPU if it asks for none.

    Args:
        device: the short form: None, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or a ``torch.device``. ``"cuda"`` alone is
            the first card. CUDA is followed by the CPU, which computes shapes.
        providers: names of ONNX Runtime's providers, or its pairs ``(name, options)``; the values of options are
            strings, integers, floats or booleans. None takes the ones of ``device``.

    Raises:
        ProviderError: a provider is not available; the message says which are, or how to get CUDA.
        InputTypeError: an argument has the wrong type.
        InputValueError: there is no such device, the device and the providers do not agree, or a provider is named
            twice.
    """
    if device is None and providers is None:
        return CPU_ONLY
    wanted = None if device is None else _read_device(device)
    chosen = CPU_ONLY if providers is None else _read_providers(providers)
    if wanted is not None:
        is_cuda = providers is None and wanted.name == CUDA
        chosen = (wanted, *CPU_ONLY) if is_cuda else _merge(wanted, chosen, device)
    _check_available(chosen)
    return chosen


def device_of(providers: tuple[Provider, ...]) -> str:
    """Return the device's name: ``"cpu"``, ``"cuda:0"``, or for others the name of the first provider.

    >>> device_of(CPU_ONLY), device_of((Provider(CUDA, {"device_id": "1"}), Provider(CPU)))
    ('cpu', 'cuda:1')
    """
    first = providers[0]
    if first.name == CUDA:
        return f"cuda:{first.options.get('device_id', '0')}"
    return "cpu" if first.name == CPU else first.name


def _read_device(device: object) -> Provider:
    """Return the provider of a device's name or of a ``torch.device``."""
    if not isinstance(device, str) and type(device).__name__ != "device":
        raise InputTypeError(f"device must be a string, found {short(device)}; pass, for example, 'cuda' or 'cuda:1'")
    name = str(device)
    kind, colon, index = name.partition(":")
    if name == "cpu":
        return Provider(CPU)
    if kind == "cuda" and not colon:
        return Provider(CUDA)
    if kind == "cuda" and index.isascii() and index.isdecimal() and len(index) < 4:
        return Provider(CUDA, {"device_id": str(int(index))})
    from embedge.inference.device.onnxruntime_packages import available_providers

    raise InputValueError(
        f"there is no device {short(name)}; pass device='cpu', 'cuda' or 'cuda:1', or providers=[...] of those that "
        f"this onnxruntime has: {', '.join(available_providers())}"
    )


def _read_providers(providers: object) -> tuple[Provider, ...]:
    # A set has no order, and the order matters.
    if isinstance(providers, str | set | frozenset | Mapping) or not isinstance(providers, Iterable):
        raise InputTypeError(
            f"providers must be a list of names, found {short(providers)}; pass, for example, [{CPU!r}]"
        )
    read = tuple(map(_read_provider, providers))
    if not read:
        raise ProviderError("providers is empty; remove it for the CPU, or pass device='cuda' for CUDA")
    names = [provider.name for provider in read]
    for name in names:
        if names.count(name) > 1:
            raise InputValueError(
                f"providers has {name} {names.count(name)} times; name it once, with all of its options"
            )
    return read


def _read_provider(provider: object) -> Provider:
    if isinstance(provider, str):
        return Provider(provider)
    # A list, too: that is what a pair becomes in JSON.
    if isinstance(provider, tuple | list) and len(provider) == 2:
        name, options = provider
        if isinstance(name, str) and isinstance(options, Mapping):
            return Provider(name, {_read_name(name, key): _read_value(key, value) for key, value in options.items()})
    raise InputTypeError(
        f"providers must be names or pairs (name, options), found {short(provider)}; pass, for example, {CPU!r}, "
        f"or ({CUDA!r}, {{'device_id': 1}})"
    )


def _read_name(provider: str, key: object) -> str:
    if not isinstance(key, str):
        raise InputTypeError(f"options of {provider} must have strings as names, found {short(key)}; quote it")
    return key


def _read_value(key: str, value: object) -> str:
    """Return an option's value as ONNX Runtime takes it: as a string, ``"1"`` for True and ``"0"`` for False."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, str | int | float):
        return str(value)
    raise InputTypeError(
        f"the provider option {key} must be a string, a number or a boolean, found {short(value)}; pass it as a string"
    )


def _merge(wanted: Provider, providers: tuple[Provider, ...], device: object) -> tuple[Provider, ...]:
    """Return the providers with the device's number, or raise InputValueError if they run on another device."""
    first, *rest = providers
    if wanted.name == first.name and (wanted.name == CUDA or not rest):
        options = {**first.options, **wanted.options}
        if first.options.get("device_id", options.get("device_id")) == options.get("device_id"):
            return replace(first, options=options), *rest
    raise InputValueError(
        f"device={str(device)!r} does not agree with providers, which are {_names(providers)}; pass only one of the two"
    )


def _names(providers: tuple[Provider, ...]) -> str:
    """The names of providers, each with the number of its card if it has one."""
    return ", ".join(
        f"{provider.name} (device_id {provider.options['device_id']})"
        if "device_id" in provider.options
        else provider.name
        for provider in providers
    )


def _check_available(providers: tuple[Provider, ...]) -> None:
    """Raise ProviderError if this onnxruntime lacks a provider. Every onnxruntime has the CPU."""
    if all(provider.name == CPU for provider in providers):
        return
    from embedge.inference.device.onnxruntime_packages import available_providers, provider_remedy

    available = available_providers()
    for provider in providers:
        if provider.name not in available:
            raise ProviderError(
                f"{provider.name} is not in this onnxruntime, which has {', '.join(available)}; "
                f"{provider_remedy(provider.name)}"
            )
