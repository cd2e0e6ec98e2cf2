"""unpadded_plan.py: token counts to batches for kernels that skip padding."""

from hypothesis import given
from hypothesis import strategies as st

from embedge.inference.plan import Batch
from embedge.inference.unpadded_plan import plan_unpadded

COUNTS = st.lists(st.integers(1, 600), max_size=60)
CORES = st.integers(1, 16)
BUDGETS = st.none() | st.integers(1, 700)


def tokens_of(batch: Batch, counts: list[int]) -> int:
    return sum(counts[member] for member in batch.members)


@given(COUNTS, CORES, BUDGETS, st.none() | st.integers(1, 8))
def test_every_text_is_in_exactly_one_batch(
    counts: list[int], cores: int, budget: int | None, size: int | None
) -> None:
    plan = plan_unpadded(counts, cores=cores, batch_tokens=budget, batch_size=size)
    assert sorted(member for batch in plan for member in batch.members) == list(range(len(counts)))
    assert all(batch.tokens == max(counts[member] for member in batch.members) for batch in plan)
    assert all(len(batch.members) <= (size or len(counts)) for batch in plan)


@given(COUNTS, CORES, BUDGETS)
def test_a_batch_keeps_to_the_budget_unless_it_is_one_long_text(
    counts: list[int], cores: int, budget: int | None
) -> None:
    for batch in plan_unpadded(counts, cores=cores, batch_tokens=budget):
        most = budget or 384
        assert len(batch.members) == 1 or tokens_of(batch, counts) <= most
        assert len(batch.members) == 1 or batch.tokens * len(batch.members) <= 2 * most


@given(COUNTS, CORES, BUDGETS)
def test_the_batch_with_the_most_tokens_comes_first(counts: list[int], cores: int, budget: int | None) -> None:
    tokens = [tokens_of(batch, counts) for batch in plan_unpadded(counts, cores=cores, batch_tokens=budget)]
    assert tokens == sorted(tokens, reverse=True)


@given(st.lists(st.integers(5, 40), min_size=8, max_size=60), st.integers(2, 8))
def test_a_batch_has_little_more_than_the_share_of_its_core(counts: list[int], cores: int) -> None:
    plan = plan_unpadded(counts, cores=cores)
    rounds = -(-sum(counts) // (384 * cores))
    share = sum(counts) / (rounds * cores)
    assert max(tokens_of(batch, counts) for batch in plan) <= max(share + max(counts) / 2, max(counts))


def test_every_core_has_a_batch() -> None:
    assert len(plan_unpadded([5] * 7 + [10], cores=6)) >= 6
    assert [len(batch.members) for batch in plan_unpadded([20] * 16, cores=4)] == [4] * 4


def test_a_text_of_more_than_128_tokens_is_alone() -> None:
    """It fills the blocks of rows that the kernels work on; alone, it leaves other cores more to choose from."""
    assert [batch.members for batch in plan_unpadded([129, 128, 100, 10], cores=1)] == [(1, 2, 3), (0,)]
