"""ONNX Runtime: options, providers, threads; run one batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort

from embedge.bundle.manifest import BATCH, HIDDEN, READ_TOKENS, TOKENS, Shape
from embedge.errors import BundleError, ProviderError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Sessions of a parent process. Never destroyed: their destructor would wait for threads that the child does not have.
_INHERITED: list[ort.InferenceSession] = []


class Session:
    """One graph, loaded. ``run`` may be called from several threads; after a fork the child loads it anew.

    Args:
        graph: the ONNX file.
        threads: threads of one run.
        providers: ONNX Runtime execution providers, most wanted first, each of them available.
        outputs: what the graph must give, float32, by name, and of which shape; see ``Manifest.outputs``.
        finished: the graph is fused already and is run as it is. ONNX Runtime's own fusions would only put
            SkipLayerNormalization in, which is slower than the two nodes it replaces, and take time at load.
        packed: rearrange the weights at load, as the kernels read them. Without, every run does that again; but the
            session opens in a third of the time, and all sessions of a process share the one copy that is mapped.
            Products of integers are the same either way, sums of floats are not.
        check_files: raises BundleError where the graph's files are no longer those that were loaded first; asked when
            they are loaded anew.
        on_parsed: called once the graph is parsed. What is then left of loading needs no interpreter lock, but had to
            have it for this moment.

    Raises:
        ProviderError: the first provider did not start; there is no silent fallback to the CPU.
        BundleError: ONNX Runtime cannot load the graph, or it lacks an output or gives one of another size.
    """

    def __init__(
        self,
        graph: Path,
        *,
        threads: int,
        providers: tuple[str, ...],
        outputs: Mapping[str, Shape],
        finished: bool,
        packed: bool = True,
        check_files: Callable[[], None] = lambda: None,
        on_parsed: Callable[[], None] = lambda: None,
    ) -> None:
        self.packed = packed
        self._graph = graph
        self._providers = providers
        self._threads = threads
        self._outputs = outputs
        self._finished = finished
        self._check_files = check_files
        self._open(on_parsed)
        self._process = os.getpid()
        self._check_outputs()

    def _open(self, on_parsed: Callable[[], None] = lambda: None) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        # Threads wait for work awake, but not beyond a run: other sessions and processes want the cores.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        # A plan of memory for each shape that was ever run gains nothing here and leaves holes between plans.
        options.enable_mem_pattern = False
        if not self.packed:
            options.add_session_config_entry("session.disable_prepacking", "1")
        options.log_severity_level = 4  # failures are raised, and so told already
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_DISABLE_ALL if self._finished else level.ORT_ENABLE_ALL
        try:
            self._session = ort.InferenceSession(
                str(self._graph),
                options,
                providers=list(self._providers),
                disabled_optimizers=_NoneDisabled(on_parsed),
                # It would try again with other providers, and print so to stdout.
                enable_fallback=False,
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
            if type(error).__name__ == "EPFail":
                raise ProviderError(
                    f"{self._providers[0]} did not start ({_first_line(error)}); leave providers out to run on the CPU"
                ) from error
            raise BundleError(
                f"ONNX Runtime {ort.__version__} cannot load {self._graph} ({_first_line(error)}); "
                "if memory ran out make room, else `pip install -U onnxruntime`, or export the bundle again"
            ) from error
        started = self._session.get_providers()
        if started[0] != self._providers[0]:
            raise ProviderError(
                f"{self._providers[0]} did not start, ONNX Runtime fell back to {started[0]}; its log says why with "
                "onnxruntime.set_default_logger_severity(0), or leave providers out to run on the CPU"
            )

    def reopen_after_fork(self) -> None:
        """Load the graph anew in a forked child: a session's threads do not survive a fork.

        Raises:
            BundleError: its files are gone, or those of another.
        """
        if os.getpid() != self._process:
            _INHERITED.append(self._session)
            self._open()
            self._check_files()
            self._process = os.getpid()

    def _check_outputs(self) -> None:
        """What the graph declares. It may leave sizes open, and it may be wrong: ``run`` looks again."""
        try:
            declared = {output.name: output.shape for output in self._session.get_outputs()}
        except UnicodeDecodeError as error:  # of an output or of a size
            raise BundleError(f"{self._graph} has names that are no text; get the bundle again") from error
        for name, wanted in self._outputs.items():
            if name not in declared:
                raise BundleError(f"{self._graph} gives {', '.join(declared)}, not {name}; export the bundle again")
            width = (declared[name] or [None])[-1]
            if isinstance(width, int) and isinstance(wanted[-1], int) and width != wanted[-1]:
                raise BundleError(
                    f"{self._graph} gives {name} of dimension {width}, and the bundle says {wanted[-1]}; "
                    "get the bundle again, or export it again"
                )

    def run(self, ids: NDArray[np.int64], output: str) -> NDArray[np.float32]:
        """One output of the graph, float32 [batch, ...], for token ids, int64 [batch, tokens], without padding.

        Args:
            ids: of texts of equal length.
            output: one of those that the session was opened for.

        Raises:
            BundleError: the graph cannot run them, or gives another shape or type; or a number that is not finite,
                hidden states excepted.
        """
        self.reopen_after_fork()
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        try:
            found: NDArray[np.float32] = self._session.run([output], feed)[0]
        except Exception as error:  # as above
            raise BundleError(
                f"{self._graph} failed on {ids.shape[0]} x {ids.shape[1]} tokens ({_first_line(error)}); if memory ran "
                "out lower batch_tokens, else export the bundle again"
            ) from error
        self._check_found(found, output, *ids.shape)
        # Of hidden states not all are read, and of what is made of them the length tells.
        if output != HIDDEN and not np.isfinite(found).all():
            raise self.not_finite(output, ids)
        return found

    def _check_found(self, found: NDArray[np.float32], output: str, batch: int, tokens: int) -> None:
        """One row would be spread over many texts by numpy, and what is no number would pass for a vector."""
        wanted = self._outputs[output]
        if not isinstance(found, np.ndarray) or found.dtype != np.float32 or not _fits(found, wanted, batch, tokens):
            kind = f"{found.dtype} {list(found.shape)}" if isinstance(found, np.ndarray) else type(found).__name__
            sizes = {BATCH: batch, TOKENS: tokens, READ_TOKENS: tokens}
            expected = [sizes[size] if isinstance(size, str) else size for size in wanted]
            raise BundleError(
                f"{self._graph} gives {output} as {kind} for {batch} x {tokens} tokens, not float32 {expected}; "
                "get the bundle again, or export it again"
            )

    def not_finite(self, output: str, ids: NDArray[np.int64]) -> BundleError:
        """The error of an output for such ids that holds NaN or infinity."""
        return BundleError(
            f"{self._graph} gives {output} that is not finite (NaN or infinity) for {ids.shape[0]} x {ids.shape[1]} "
            "tokens: its numbers overflow; load another precision, such as fp32, or export the bundle again"
        )


def _fits(found: NDArray[np.float32], wanted: Shape, batch: int, tokens: int) -> bool:
    """Whether an output has the shape that it must have, for so many texts of so many tokens."""
    if len(found.shape) != len(wanted):
        return False
    for size, want in zip(found.shape, wanted, strict=True):
        fits = (
            size == want
            or (want == BATCH and size == batch)
            or (want == TOKENS and size == tokens)
            or (want == READ_TOKENS and size in (tokens, 1))
        )
        if not fits:
            return False
    return True


def _first_line(error: BaseException) -> str:
    """What an error of ONNX Runtime says; its name where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class _NoneDisabled(list[str]):
    """No optimiser's name, and who asks for them is noticed: ONNX Runtime does when it has parsed the graph."""

    def __init__(self, on_asked: Callable[[], None]) -> None:
        super().__init__()
        self._on_asked = on_asked

    def __iter__(self) -> Iterator[str]:
        self._on_asked()
        return super().__iter__()
