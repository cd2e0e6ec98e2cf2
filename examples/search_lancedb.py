"""Semantic search with LanceDB, a vector database in a folder.

pip install 'embedge[export]' lancedb
python examples/search_lancedb.py [MODEL [QUESTION [FOLDER]]]

With all-MiniLM-L6-v2, it prints first:

    0.382  Rest a steak for five minutes, so that the juice stays in it.
"""

import sys
import tempfile

import lancedb

from embedge import Embedder

DOCUMENTS = [
    "Toast the rice in butter before the first ladle of stock goes in.",
    "Bread dough is ready when it has doubled in size.",
    "Rest a steak for five minutes, so that the juice stays in it.",
    "Salt aubergines and wait: they then drink less oil.",
    "A pinch of sugar takes the edge off tinned tomatoes.",
    "Egg whites do not rise in a bowl that has seen fat.",
    "Blanch beans in salted water, then chill them to keep them green.",
    "Lentils need no soaking, chickpeas need a night of it.",
    "Chocolate melts best over water that does not boil.",
    "A sharp knife is safer than a dull one.",
]


def main(
    name: str = "bge-small-en-v1.5", question: str = "why does my meat get dry?", folder: str | None = None
) -> None:
    """Insert the documents into a table, then search it."""
    model = Embedder(name)
    db = lancedb.connect(folder or tempfile.mkdtemp())
    vectors = model.encode_document(DOCUMENTS)
    rows = [{"vector": vector, "text": text} for vector, text in zip(vectors, DOCUMENTS, strict=True)]
    table = db.create_table("kitchen", rows, mode="overwrite")
    for row in table.search(model.encode_query(question)).distance_type("cosine").limit(3).to_list():
        print(f"{1 - row['_distance']:.3f}  {row['text']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
