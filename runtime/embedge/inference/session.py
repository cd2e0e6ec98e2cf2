"""One ONNX Runtime session: run one batch; load the graph again in a forked child."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embedge.bundle.manifest import HIDDEN, Pooling, Shape
from embedge.errors import BundleError
from embedge.inference.graph_outputs import check_declared, check_output
from embedge.inference.open_session import SessionFactory, first_line
from embedge.inference.providers import CUDA, ON_CPU, Provider

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embedge.inference.device.pool import DevicePool
    from embedge.inference.device.provider_advice import Advice
    from embedge.inference.kernels import Kernels
    from embedge.inference.token_batch import TokenBatch  # not here: it imports tokenizers, see load.py


class Session:
    """One graph, loaded. Several threads may call ``run``; a forked child loads the graph again.

    Args:
        graph: the ONNX file.
        threads: threads of one run.
        providers: ONNX Runtime execution providers, the preferred one first, each of them available.
        outputs: the float32 outputs that the graph must have, and their shapes; see ``Manifest.outputs``.
        run_as_is: turn ONNX Runtime's graph optimisations off, because the graph is already fused. On a CPU they would
            only add SkipLayerNormalization, which is slower than the two nodes that it replaces, and take time at load.
        prepacked: rearrange the weights at load into the layout that the kernels read (ONNX Runtime's prepacking).
            Without it, every run rearranges them again; but the session opens in a third of the time, and all sessions
            of a process share the one copy of the weights that is mapped into memory. Integer products are the same
            either way, sums of floats are not.
        reuse_buffers: let ONNX Runtime plan which tensors share a buffer. It then keeps the large buffers of a layer's
            feed-forward network through the next layer's attention. With texts of 8,192 tokens that is a fifth of the
            memory, and it saves no time. No value depends on it.
        pooling: how the hidden states are pooled. On CUDA, ``run`` then pools them on the card, unless the graph gives
            one token of each text only. Elsewhere, and if it is None, ``run`` returns them as they are.
        kernels: the library that has the operators of a fused graph; None for other graphs.
        check_files: raises BundleError if the graph's files are no longer the ones that were loaded first. Called when
            they are loaded again.
        advice: gives the end of errors about a provider that does not run the graph, or only a part of it: what to do.
        on_parsed: called once ONNX Runtime has parsed the graph. It needs Python's global interpreter lock (GIL) for
            this call, and for nothing that is left of the load.

    Raises:
        ProviderError: the first provider did not start, or it leaves heavy nodes of the graph to the CPU; there is no
            silent fallback to the CPU. With kernels, the library does not load, or cannot run the graph.
        BundleError: ONNX Runtime cannot load the graph, or the graph lacks an output or has one of another dimension.
    """

    def __init__(
        self,
        graph: Path,
        *,
        threads: int,
        providers: tuple[Provider, ...],
        outputs: Mapping[str, Shape],
        run_as_is: bool,
        prepacked: bool = True,
        reuse_buffers: bool = True,
        pooling: Pooling | None = None,
        kernels: Kernels | None = None,
        check_files: Callable[[], None] = lambda: None,
        advice: Advice = lambda opened: ON_CPU,
        on_parsed: Callable[[], None] = lambda: None,
    ) -> None:
        self.prepacked = prepacked
        self._graph = graph
        self._providers = providers
        self._outputs = outputs
        self._pooling = pooling
        self._check_files = check_files
        self._factory = SessionFactory(
            graph=graph,
            threads=threads,
            providers=providers,
            run_as_is=run_as_is,
            prepacked=prepacked,
            reuse_buffers=reuse_buffers,
            kernels=kernels,
            advice=advice,
        )
        self._open(on_parsed)
        self._process = os.getpid()
        check_declared(self._session, outputs, graph=graph)
        self._device_pool = self._open_device_pool()

    def _open(self, on_parsed: Callable[[], None] = lambda: None) -> None:
        self._session = self._factory.open(on_parsed)

    def reopen_after_fork(self) -> None:
        """In a forked child, load the graph again: a session's threads do not survive a fork.

        Raises:
            BundleError: the files are gone, or are those of another graph.
            ProviderError: the session runs on CUDA, which a child cannot use if its parent has; or the kernel library
                is gone.
        """
        if os.getpid() != self._process:
            if any(provider.name == CUDA for provider in self._providers):
                from embedge.inference.device.cuda import in_forked_child

                raise in_forked_child()
            self._open()
            self._check_files()
            self._process = os.getpid()

    def _open_device_pool(self) -> DevicePool | None:
        """Return what pools hidden states on a GPU; None where the plain run copies no more than one row of a text."""
        if self._pooling is None or self._providers[0].name != CUDA or HIDDEN not in self._outputs:
            return None
        shape = next(output.shape for output in self._session.get_outputs() if output.name == HIDDEN)
        if list(shape or [])[1:2] == [1]:
            return None
        from embedge.inference.device.pool import DevicePool  # imported here, because a CPU does not need it

        return DevicePool(self._session, self._providers[0], self._pooling)

    def run(self, batch: TokenBatch, output: str) -> NDArray[np.float32]:
        """Run a batch and return one output of the graph: float32 [batch, ...]; see ``run_outputs``."""
        return self.run_outputs(batch, (output,))[output]

    def run_outputs(self, batch: TokenBatch, outputs: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Run a batch once and return some outputs of the graph by name, each float32 [batch, ...].

        Hidden states that were pooled on a GPU are float32 [batch, 1, dimension], without padding.

        Args:
            batch: the token ids of some texts.
            outputs: the names of some of the outputs that the session was opened for.

        Raises:
            BundleError: the run fails, or gives another shape or type; or NaN or infinity in an output that is not
                ``last_hidden_state``.
        """
        self.reopen_after_fork()
        if self._device_pool is not None and HIDDEN in outputs:
            return self._run_and_pool(self._device_pool, batch, outputs)
        feed = {"input_ids": batch.ids, "attention_mask": batch.mask}
        try:
            values = self._session.run(outputs, feed)
        except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
            raise self._run_failed(error, batch) from error
        return self._checked(dict(zip(outputs, values, strict=True)), batch)

    def _run_and_pool(
        self, device_pool: DevicePool, batch: TokenBatch, outputs: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        others = [output for output in outputs if output != HIDDEN]
        try:
            hidden, values = device_pool.run(batch, others)
        except Exception as error:  # as above
            raise self._run_failed(error, batch) from error
        check_output(hidden, HIDDEN, self._outputs[HIDDEN], batch, graph=self._graph)
        found = self._checked(dict(zip(others, values, strict=True)), batch)
        try:
            return {HIDDEN: device_pool.pool(hidden, batch), **found}
        except Exception as error:
            raise self._run_failed(error, batch) from error

    def _checked(self, found: dict[str, NDArray[np.float32]], batch: TokenBatch) -> dict[str, NDArray[np.float32]]:
        for output, values in found.items():
            check_output(values, output, self._outputs[output], batch, graph=self._graph)
            # Hidden states are not checked: pooling may read only some of them, and the vectors are checked instead.
            if output != HIDDEN and not np.isfinite(values).all():
                raise self.not_finite(output, batch)
        return found

    def _run_failed(self, error: Exception, batch: TokenBatch) -> BundleError:
        from embedge.inference.device.provider_errors import is_out_of_memory  # only errors need it

        texts, tokens = batch.ids.shape
        if is_out_of_memory(error):
            remedy = "memory ran out, so lower batch_tokens"
        else:
            remedy = "lower batch_tokens if memory ran out, else export the bundle again"
        return BundleError(f"{self._graph} failed on {texts} x {tokens} tokens ({first_line(error)}); {remedy}")

    def not_finite(self, output: str, batch: TokenBatch) -> BundleError:
        """Return the error for an output, of this batch, that holds NaN or infinity."""
        texts, tokens = batch.ids.shape
        return BundleError(
            f"{self._graph} gives {output} that is not finite (NaN or infinity) for {texts} x {tokens} "
            "tokens: its numbers overflow; load another precision, such as fp32, or export the bundle again"
        )
