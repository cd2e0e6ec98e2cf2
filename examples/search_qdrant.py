"""Semantic search with Qdrant, in memory.

pip install 'embedge[export]' qdrant-client
python examples/search_qdrant.py [MODEL [QUESTION]]

With all-MiniLM-L6-v2, it prints first:

    0.320  A contract can be cancelled at the end of any month.
"""

import sys

from qdrant_client import QdrantClient
from qdrant_client.models import Distance, VectorParams

from embedge import Embedder

DOCUMENTS = [
    "Hold the power button for ten seconds to restart the router.",
    "A steady red light means that the line is not connected.",
    "The wireless password is printed on the back of the device.",
    "Move the router away from the microwave oven if the signal drops.",
    "Guests can have a network of their own, without access to your printer.",
    "Updates are installed at night, and take about five minutes.",
    "The invoice is sent by e-mail on the third of every month.",
    "Moving house? Tell us the new address two weeks before.",
    "A contract can be cancelled at the end of any month.",
    "Opening the case ends the warranty.",
]


def main(name: str = "bge-small-en-v1.5", question: str = "how do I get out of my subscription?") -> None:
    """Insert the documents into a collection, then search it."""
    model = Embedder(name)
    client = QdrantClient(":memory:")  # or path="folder", or url="http://localhost:6333"
    size = VectorParams(size=model.dimension, distance=Distance.COSINE)
    client.create_collection("help", vectors_config=size)
    payload = [{"text": text} for text in DOCUMENTS]
    client.upload_collection("help", vectors=model.encode_document(DOCUMENTS), payload=payload)
    # encode_query adds the model's query prompt, encode_document does not.
    found = client.query_points("help", query=model.encode_query(question), limit=3)
    for point in found.points:
        print(f"{point.score:.3f}  {(point.payload or {})['text']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
