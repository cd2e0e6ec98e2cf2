"""How the texts of a call become batches for the kernels, which skip padding. A plain graph does not need it."""

from __future__ import annotations

from collections.abc import Sequence

from embedge.inference.options import CallOptions
from embedge.inference.plan import Batch
from embedge.inference.schedule import CpuSchedule
from embedge.inference.unpadded_plan import BUDGET, plan_unpadded, unpadded_budget


class UnpaddedSchedule(CpuSchedule):
    """Tokenises all texts, then puts texts of similar length into batches, for kernels that skip padding.

    Args:
        cores: how many batches run at the same time.
    """

    enough = BUDGET

    def __init__(self, cores: int) -> None:
        self._cores = cores

    def plan(self, token_counts: Sequence[int], options: CallOptions) -> Sequence[Batch]:
        """Return batches of texts of similar length, about as many for each core."""
        return self._plan(token_counts, options, cores=self._cores)

    def plan_for_slot(self, token_counts: Sequence[int], options: CallOptions) -> Sequence[Batch]:
        """Return batches of texts of similar length for one core."""
        return self._plan(token_counts, options, cores=1)

    def shared_by(self, tokens: int) -> int:
        """Return 0: any texts may share a batch."""
        return 0

    def room(self, tokens: int, options: CallOptions) -> int:
        """Return the tokens of one batch."""
        return unpadded_budget(tokens, options.batch_tokens)

    def _plan(self, token_counts: Sequence[int], options: CallOptions, *, cores: int) -> Sequence[Batch]:
        return plan_unpadded(
            token_counts, cores=cores, batch_tokens=options.batch_tokens, batch_size=options.batch_size
        )
