"""Semantic search with SQLite: the vectors are in a virtual table.

pip install 'embedge[export]' apsw sqlite-vec
python examples/search_sqlite_vec.py [MODEL [QUESTION]]

With all-MiniLM-L6-v2, both searches print first:

    0.563  Cover lemon trees before the first frost, or take them inside.

apsw is SQLite for Python. You can use the same calls of the standard library's sqlite3 if it can load extensions. The
sqlite3 of python.org's build for macOS cannot.
"""

import sys

import apsw
import sqlite_vec

from embedge import Embedder

DOCUMENTS = [
    "Water the basil when the soil feels dry, not every day.",
    "Tomatoes need six hours of sun and a stick to climb.",
    "Cut roses back in early spring, above a bud that faces outwards.",
    "Slugs do not cross a ring of crushed egg shells.",
    "Yellow leaves are a sign of too much water or too little iron.",
    "Compost is ready when it smells of forest floor.",
    "Sow carrots where they will grow; they do not like to be moved.",
    "Bees come to lavender, thyme and borage.",
    "Cover lemon trees before the first frost, or take them inside.",
    "Mow the lawn high in dry weeks, so that it shades its roots.",
]
# Each vector is stored twice: as float32, and as one bit for each dimension, which is fast to compare.
TABLE = "create virtual table notes using vec0(vector float[{0}] distance_metric=cosine, bits bit[{0}], +text text)"
NEAREST = "select distance, text from notes where vector match ? and k = 3"
# First the eight nearest by their bits, then the best three of these by their float32 vectors.
RESCORED = """select vec_distance_cosine(vector, ?) as distance, text
    from notes where bits match vec_bit(?) and k = 8 order by 1 limit 3"""


def main(name: str = "bge-small-en-v1.5", question: str = "when does my citrus have to come indoors?") -> None:
    """Insert the documents into a table, then search it in both ways."""
    model = Embedder(name)
    db = apsw.Connection(":memory:")  # or a file's path
    db.enable_load_extension(True)
    sqlite_vec.load(db)
    db.execute(TABLE.format(model.dimension))
    vectors = model.encode_document(DOCUMENTS)
    bits = model.encode_document(DOCUMENTS, precision="ubinary")
    rows = zip(vectors, bits, DOCUMENTS, strict=True)
    db.executemany("insert into notes(vector, bits, text) values (?, vec_bit(?), ?)", rows)
    query, query_bits = model.encode_query(question), model.encode_query(question, precision="ubinary")
    for title, found in (
        ("float32:", db.execute(NEAREST, [query])),
        ("binary, then float32:", db.execute(RESCORED, [query, query_bits])),
    ):
        print(title)
        for distance, text in found:
            print(f"{1 - distance:.3f}  {text}")


if __name__ == "__main__":
    main(*sys.argv[1:])
