"""AsyncReranker: its scores are those of Reranker."""

import asyncio
import pickle
from collections.abc import Callable

import numpy as np
import pytest

from embedge import AsyncReranker, Bundle, InputTypeError, Reranker

DOCUMENTS = ["Yeast makes dough rise.", "The bike has a flat tyre.", "Bread is baked at 220 degrees.", ""]


@pytest.fixture(scope="module")
def bundle(export: Callable[..., Bundle], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    from seeded_roberta import write_roberta

    folder = write_roberta(tmp_path_factory.mktemp("reranker") / "checkpoint", rerank=True)
    return export(folder, folder.parent / "bundle", verify=False)


def test_scores_and_ranks_are_those_of_the_plain_calls(bundle: Bundle) -> None:
    plain = Reranker(bundle.path)
    queries = [f"how do I bake bread {number % 5} times?" for number in range(100)]

    async def ask() -> None:
        async with AsyncReranker.from_reranker(plain) as model:
            ranks = await asyncio.gather(*(model.rank(query, DOCUMENTS, top_k=2, normalize=True) for query in queries))
            assert ranks == [plain.rank(query, DOCUMENTS, top_k=2, normalize=True) for query in queries]
            pair = (queries[0], DOCUMENTS[0])
            assert await model.score(pair) == plain.score(pair)
            scores = await model.score([pair, pair], normalize=True)
            np.testing.assert_array_equal(scores, plain.score([pair, pair], normalize=True))
            with pytest.raises(InputTypeError, match="documents must be a list"):
                await model.rank("a", "b")

    asyncio.run(ask())


def test_it_can_be_loaded_and_pickled(bundle: Bundle) -> None:
    model = AsyncReranker(bundle.path, threads=1)
    copy = pickle.loads(pickle.dumps(model))
    assert asyncio.run(copy.score(("a", "b"))) == model.reranker.score(("a", "b"))
