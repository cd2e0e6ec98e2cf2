"""padded_plan.py: token counts to padded batches."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from embedge.inference.device.padded_plan import _TOKENS_OF_A_RUN, padded_length, plan_padded_batches

MAX_TOKENS = 512
COUNTS = st.lists(st.integers(1, MAX_TOKENS), max_size=80)
BUDGETS = st.none() | st.integers(1, 5000)
SIZES = st.none() | st.integers(1, 9)


@given(COUNTS, BUDGETS, SIZES)
def test_every_text_is_in_exactly_one_batch_that_is_long_enough(
    counts: list[int], batch_tokens: int | None, batch_size: int | None
) -> None:
    batches = plan_padded_batches(counts, max_tokens=MAX_TOKENS, batch_tokens=batch_tokens, batch_size=batch_size)
    assert sorted(member for batch in batches for member in batch.members) == list(range(len(counts)))
    assert all(counts[member] <= batch.tokens <= MAX_TOKENS for batch in batches for member in batch.members)


@given(COUNTS, BUDGETS, SIZES)
def test_a_batch_has_no_more_than_the_budget_unless_it_is_one_text(
    counts: list[int], batch_tokens: int | None, batch_size: int | None
) -> None:
    for batch in plan_padded_batches(counts, max_tokens=MAX_TOKENS, batch_tokens=batch_tokens, batch_size=batch_size):
        rows = len(batch.members)
        assert rows == 1 or rows * batch.tokens <= (batch_tokens or 16_384)
        assert rows <= (batch_size or rows)


@given(COUNTS, BUDGETS)
def test_the_padding_is_bounded(counts: list[int], batch_tokens: int | None) -> None:
    """A batch for each length would pad a text by less than eight tokens; merged batches save more than they pad."""
    batches = plan_padded_batches(counts, max_tokens=MAX_TOKENS, batch_tokens=batch_tokens)
    alone = sum(padded_length(count, MAX_TOKENS) for count in counts)
    assert alone < sum(counts) + 8 * len(counts) + 1
    assert sum(batch.total_tokens for batch in batches) <= alone + _TOKENS_OF_A_RUN * len({c + 7 >> 3 for c in counts})


@given(COUNTS)
def test_texts_come_sorted_and_the_largest_batch_first(counts: list[int]) -> None:
    batches = plan_padded_batches(counts, max_tokens=MAX_TOKENS)
    assert all(first.total_tokens >= second.total_tokens for first, second in pairwise(batches))
    for batch in batches:
        assert [counts[member] for member in batch.members] == sorted(
            (counts[member] for member in batch.members), reverse=True
        )


def test_a_text_alone_is_not_padded() -> None:
    """So that attention needs no mask."""
    (batch,) = plan_padded_batches([13], max_tokens=512)
    assert (batch.tokens, batch.members) == (13, (0,))


def test_few_texts_of_different_lengths_share_a_batch_and_many_do_not() -> None:
    few = plan_padded_batches([8] * 9 + [64] * 9, max_tokens=512)
    many = plan_padded_batches([8] * 200 + [64] * 200, max_tokens=512)
    assert [len(batch.members) for batch in few] == [18]
    assert [(batch.tokens, len(batch.members)) for batch in many] == [(64, 200), (8, 200)]


def test_the_best_cut_is_found() -> None:
    """Against all cuts of a short list, by trying them."""
    counts = [8] * 30 + [24] * 25 + [40] * 20 + [56] * 10 + [128] * 4
    groups = [(128, 4), (56, 10), (40, 20), (24, 25), (8, 30)]

    def cost(cuts: int) -> int:
        total, first = 0, 0
        for end in range(1, len(groups) + 1):
            if end == len(groups) or cuts >> (end - 1) & 1:
                total += groups[first][0] * sum(count for _, count in groups[first:end]) + _TOKENS_OF_A_RUN
                first = end
        return total

    batches = plan_padded_batches(counts, max_tokens=512)
    planned = sum(batch.total_tokens + _TOKENS_OF_A_RUN for batch in batches)
    assert planned == min(cost(cuts) for cuts in range(2 ** (len(groups) - 1)))


def test_long_texts_have_few_rows() -> None:
    """Attention's scores grow with the square of the length."""
    rows = {
        tokens: max(len(batch.members) for batch in plan_padded_batches([tokens] * 64, max_tokens=8192))
        for tokens in (512, 1024, 2048, 4096, 8192)
    }
    assert rows == {512: 32, 1024: 8, 2048: 2, 4096: 1, 8192: 1}


def test_a_budget_of_the_caller_goes_for_long_texts_too() -> None:
    assert len(plan_padded_batches([2048] * 8, max_tokens=8192, batch_tokens=16_384)) == 1


def test_no_row_is_longer_than_the_model_takes() -> None:
    """Whose limit may be no multiple of eight."""
    assert [batch.tokens for batch in plan_padded_batches([509, 510], max_tokens=510)] == [510]


def test_no_texts_are_no_batches() -> None:
    assert plan_padded_batches([], max_tokens=512) == ()
