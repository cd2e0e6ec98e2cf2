"""The common base of Embedder and Reranker: a bundle, loaded with checked options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any, ClassVar

from embedge.bundle.directory import Bundle
from embedge.bundle.manifest import CLASSES, Precision, Task
from embedge.errors import BundleError
from embedge.hub.resolve import resolve
from embedge.inference.cpu import usable_cores
from embedge.inference.load import load_engine
from embedge.inference.options import check_bool, check_count
from embedge.inference.providers import CPU, CPU_ONLY, ProviderArgument, choose_providers, device_of

# The order in which a model without ``precision`` tries the precisions of its bundle. On other devices than the CPU,
# int8 must be asked for by name: CUDA, for one, lacks the operators of its graph, and would leave them to the CPU.
_PREFERRED_ON_CPU: tuple[Precision, ...] = ("int8", "fp32", "fp16")
_PREFERRED_ELSEWHERE: tuple[Precision, ...] = ("fp16", "fp32")
_KINDS: Mapping[Task, str] = {"embed": "an embedder", "rerank": "a reranker"}


class OtherTaskError(BundleError):
    """The bundle is a reranker where an embedder is wanted, or the other way round."""


class Model:
    """A loaded bundle. See ``Embedder`` for the arguments and the errors."""

    _task: ClassVar[Task]

    def __init__(
        self,
        model: str | PathLike[str],
        *,
        precision: Precision | None,
        providers: Sequence[ProviderArgument] | None,
        threads: int | None,
        cache_dir: str | PathLike[str] | None,
        local_files_only: bool,
        device: str | None,
        kernels: bool | None,
    ) -> None:
        # Stored as passed, not lowered to this machine's cores: a pickle may be loaded on a machine with more cores.
        self._threads = check_count("threads", threads)
        self._use_kernels = None if kernels is None else check_bool("kernels", kernels)
        self._providers = choose_providers(device, providers)
        if self._providers != CPU_ONLY:
            from embedge.inference.device.prepare import prepare_providers  # the CPU does not need it

            prepare_providers(self._providers)  # before a bundle is downloaded or exported for a card that is not there
        on_cpu = self._providers[0].name == CPU
        bundle = resolve(
            model,
            precision=precision,
            preferred=None if on_cpu else _PREFERRED_ELSEWHERE,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        check_task(bundle, self._task)
        # The path becomes absolute: a pickle, a forked child and a later session open the bundle again, and the working
        # directory may have changed by then.
        self._bundle = replace(bundle, path=bundle.path.absolute())
        self._manifest = self._bundle.manifest
        preferred = _PREFERRED_ON_CPU if on_cpu else _PREFERRED_ELSEWHERE
        self._precision = self._bundle.pick_precision(precision, preferred=preferred)
        cores = usable_cores()
        self._engine = load_engine(
            self._bundle,
            precision=self._precision,
            providers=self._providers,
            threads=min(self._threads or cores, cores),
            kernels=self._use_kernels,
        )

    def __repr__(self) -> str:
        return self._describe()

    def _describe(self, *more: str) -> str:
        """Return the text for ``repr``: the device is left out if it is the CPU."""
        where = () if self.device == "cpu" else (f"device={self.device!r}",)
        parts = (repr(self._manifest.model), f"precision={self._precision!r}", *more, *where)
        return f"{type(self).__name__}({', '.join(parts)})"

    def __reduce__(self) -> tuple[Any, ...]:
        options = (self._precision, provider_arguments(self), self._threads, self._use_kernels)
        return _reopen, (type(self), str(self._bundle.path), *options)

    @property
    def bundle(self) -> Bundle:
        """The bundle that was loaded: its path and manifest."""
        return self._bundle

    @property
    def precision(self) -> Precision:
        """Precision of the graph that was loaded: ``"int8"``, ``"fp32"`` or ``"fp16"``."""
        return self._precision

    @property
    def device(self) -> str:
        """What the model runs on: ``"cpu"``, ``"cuda:0"``, or for other devices the name of the first provider."""
        return device_of(self._providers)

    @property
    def providers(self) -> tuple[str, ...]:
        """Names of the ONNX Runtime execution providers, the preferred one first."""
        return tuple(provider.name for provider in self._providers)

    @property
    def threads(self) -> int | None:
        """The largest number of CPU cores to use, as passed; None means all that this process may use."""
        return self._threads

    @property
    def kernels(self) -> str | None:
        """The instruction set of the kernels that run the fused graph, such as ``"amx"``; None for the plain graph.

        It is ``"amx"``, ``"avx512_vnni"``, ``"avx_vnni"``, ``"avx2"``, ``"neon_i8mm"``, ``"neon_dotprod"``, ``"neon"``
        or ``"scalar"``. The vectors are the same with each of them.
        """
        return self._engine.kernels

    @property
    def max_tokens(self) -> int:
        """The largest number of tokens of an input, special tokens and prompt included; a longer input is truncated."""
        return self._manifest.max_tokens


def check_task(bundle: Bundle, task: Task) -> None:
    """Raise OtherTaskError if a bundle is a reranker where an embedder is wanted, or the other way round."""
    found = bundle.manifest.task
    if found != task:
        raise OtherTaskError(
            f"{bundle.path} is {_KINDS[found]}, not {_KINDS[task]}; "
            f"open it with embedge.{CLASSES[found]}, or run `embedge {found}`"
        )


def preferred_precisions(
    device: str | None, providers: Sequence[ProviderArgument] | None
) -> tuple[Precision, ...] | None:
    """Return the precisions of which a model on that device needs one, as ``resolve`` takes them; None for the CPU."""
    return None if choose_providers(device, providers)[0].name == CPU else _PREFERRED_ELSEWHERE


def provider_arguments(model: Model) -> tuple[ProviderArgument, ...]:
    """Return a model's providers as the argument that loads it again on the same device, with the same options."""
    return tuple(provider.argument if provider.options else provider.name for provider in model._providers)


def kernels_argument(model: Model) -> bool | None:
    """Return a model's argument ``kernels``, as it was passed."""
    return model._use_kernels


def _reopen(
    kind: type[Model],
    path: str,
    precision: Precision,
    providers: tuple[ProviderArgument, ...],
    threads: int | None,
    kernels: bool | None = None,
) -> Model:
    """Open a pickled model.

    Pickles of embedge 0.1.0 call this, too: it must keep its name, and its arguments but for ``kernels``.
    """
    return kind(
        path,
        precision=precision,
        providers=providers,
        threads=threads,
        cache_dir=None,
        local_files_only=True,
        device=None,
        kernels=kernels,
    )
