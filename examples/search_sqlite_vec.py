"""Search by meaning in SQLite: vectors in a virtual table.

pip install 'embedge[export]' apsw sqlite-vec
python examples/search_sqlite_vec.py [MODEL [QUESTION]]

apsw is SQLite for Python. The standard library's sqlite3 takes the same calls, where it was built to load extensions;
python.org's for macOS, for one, was not.
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
# Every vector twice: whole (4 bytes a dimension), and as one bit a dimension, which is quick to compare.
TABLE = "create virtual table notes using vec0(vector float[{0}] distance_metric=cosine, bits bit[{0}], +text text)"
NEAREST = "select distance, text from notes where vector match ? and k = 3"
# The eight nearest by bits, then the best three of these by their whole vectors.
RESCORED = """select vec_distance_cosine(vector, ?) as distance, text
    from notes where bits match vec_bit(?) and k = 8 order by 1 limit 3"""


def main(name: str = "bge-small-en-v1.5", question: str = "when does my citrus have to come indoors?") -> None:
    """Fill a table, then ask it in both ways."""
    model = Embedder(name)
    db = apsw.Connection(":memory:")  # or a file
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
