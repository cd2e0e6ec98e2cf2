"""plan.py: token counts to batches."""

from hypothesis import given
from hypothesis import strategies as st

from embedge.inference.plan import plan_batches

COUNTS = st.lists(st.integers(1, 40), max_size=60)


@given(COUNTS, st.integers(1, 100))
def test_every_text_is_in_exactly_one_batch(counts: list[int], batch_tokens: int) -> None:
    members = [member for batch in plan_batches(counts, batch_tokens=batch_tokens) for member in batch.members]
    assert sorted(members) == list(range(len(counts)))


@given(COUNTS, st.integers(1, 100))
def test_texts_of_a_batch_have_its_token_count(counts: list[int], batch_tokens: int) -> None:
    for batch in plan_batches(counts, batch_tokens=batch_tokens):
        assert {counts[member] for member in batch.members} == {batch.tokens}


@given(COUNTS, st.integers(1, 100))
def test_a_batch_keeps_to_the_budget_unless_it_is_one_long_text(counts: list[int], batch_tokens: int) -> None:
    for batch in plan_batches(counts, batch_tokens=batch_tokens):
        assert batch.tokens * len(batch.members) <= batch_tokens or len(batch.members) == 1


def test_the_largest_batch_first_and_of_two_alike_the_one_of_longer_texts() -> None:
    tokens = [batch.tokens for batch in plan_batches([5, 90, 7, 10, 5], batch_tokens=64)]
    assert tokens == [90, 10, 5, 7]


@given(COUNTS, st.integers(1, 100), st.integers(1, 8))
def test_batch_size_caps_the_texts_and_loses_none(counts: list[int], batch_tokens: int, batch_size: int) -> None:
    batches = plan_batches(counts, batch_tokens=batch_tokens, batch_size=batch_size)
    assert all(len(batch.members) <= batch_size for batch in batches)
    assert sorted(member for batch in batches for member in batch.members) == list(range(len(counts)))


def test_without_a_budget_long_texts_have_smaller_batches() -> None:
    """512 tokens, and 384 above 64 tokens a text: benchmarks/README.md has what either takes."""
    assert [len(batch.members) for batch in plan_batches([64] * 8 + [65] * 6)] == [8, 5, 1]
