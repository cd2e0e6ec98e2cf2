"""Create a Chroma collection in a folder, then reopen it: `python examples/with_chroma.py FOLDER [MODEL]`."""

import sys

import chromadb

from embedge.integrations.chroma import EmbedgeEmbeddingFunction

TEXTS = ["The bike has a flat tyre.", "Yeast makes dough rise.", "An oven must be hot before the loaf goes in."]


def write(folder: str, model: str = "bge-small-en-v1.5") -> None:
    """Create a collection in a folder."""
    client = chromadb.PersistentClient(folder)
    collection = client.create_collection("texts", embedding_function=EmbedgeEmbeddingFunction(model))
    collection.add(ids=[str(index) for index in range(len(TEXTS))], documents=TEXTS)


def read(folder: str) -> list[str]:
    """Return the two texts that answer the question best. Chroma loads the model that it stored with the collection."""
    collection = chromadb.PersistentClient(folder).get_collection("texts")
    found = collection.query(query_texts=["how do I bake bread?"], n_results=2)["documents"]
    assert found is not None
    return found[0]


if __name__ == "__main__":
    write(*sys.argv[1:])
    print(*read(sys.argv[1]), sep="\n")
