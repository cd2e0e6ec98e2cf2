"""input_texts.py: what looks like texts and is a table, against the libraries' own."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from embedge import Embedder, InputTypeError
from embedge.inference.input_texts import check_texts

TEXTS = ["the cat", "a dog"]


def pandas() -> Any:
    return pytest.importorskip("pandas").DataFrame({"text": TEXTS, "id": [1, 2]})


def polars() -> Any:
    return pytest.importorskip("polars").DataFrame({"text": TEXTS, "id": [1, 2]})


def pyarrow() -> Any:
    return pytest.importorskip("pyarrow").table({"text": TEXTS, "id": [1, 2]})


def batch() -> Any:
    return pytest.importorskip("pyarrow").record_batch({"text": TEXTS, "id": [1, 2]})


def datasets() -> Any:
    return pytest.importorskip("datasets").Dataset.from_dict({"text": TEXTS, "id": [1, 2]})


def splits() -> Any:
    return pytest.importorskip("datasets").DatasetDict({"train": datasets()})


def fields() -> Any:
    return np.array([("the cat", 1), ("a dog", 2)], [("text", "U9"), ("id", "i4")])


TABLES = [pandas, polars, pyarrow, batch, datasets, splits, fields]


@pytest.mark.parametrize("make", TABLES)
def test_a_table_is_refused_with_a_line_that_works(make: Callable[[], Any]) -> None:
    """Pandas iterates over its columns' names, which were embedded."""
    texts = make()
    with pytest.raises(
        InputTypeError, match=r"a table; pass one column of it, such as (\S+) \(its columns: text, id\)"
    ) as e:
        check_texts(texts)
    line = str(e.value).partition("such as ")[2].partition(" (")[0]
    column = eval(line, {"list": list}, {"texts": texts})
    assert check_texts(column) == (TEXTS, False)


def test_a_lazy_table_is_refused_though_it_cannot_be_iterated() -> None:
    with pytest.raises(InputTypeError, match=r'such as texts\.collect\(\)\["text"\]\.to_list\(\)'):
        check_texts(pytest.importorskip("polars").DataFrame({"text": TEXTS}).lazy())


class Interchange:
    """A table of a library that is not known here."""

    def __dataframe__(self) -> None: ...

    def __iter__(self) -> Iterator[str]:
        return iter(["text", "id"])


def test_a_table_of_any_library_is_refused() -> None:
    with pytest.raises(
        InputTypeError, match=r'found Interchange, which is a table; .* such as list\(texts\["text"\]\)$'
    ):
        check_texts(Interchange())


def test_a_column_is_taken_as_it_is(tiny: Embedder) -> None:
    expected = tiny.encode(TEXTS)
    for column in (pandas()["text"], np.array(TEXTS), np.array(TEXTS, object)):
        np.testing.assert_array_equal(tiny.encode(column), expected)


def test_names_of_documents_and_pairs_are_the_argument_s() -> None:
    from embedge.reranker import check_pairs

    with pytest.raises(InputTypeError, match=r'pairs must be .*such as pairs\["text"\]'):
        check_pairs(pandas())
