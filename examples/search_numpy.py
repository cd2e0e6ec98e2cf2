"""Semantic search without a database: the vectors are in one .npy file.

pip install 'embedge[export]'
python examples/search_numpy.py [MODEL [QUESTION [FILE.npy]]]

With all-MiniLM-L6-v2, it prints first:

    0.378  Bicycles travel free of charge outside rush hour.
"""

import sys
from pathlib import Path

import numpy as np

from embedge import Embedder

DOCUMENTS = [
    "The ferry to the island leaves at seven in the morning and at noon.",
    "Bicycles travel free of charge outside rush hour.",
    "Children under six need no ticket when an adult is with them.",
    "Lost luggage is kept for three months at the central station.",
    "The night bus stops at the hospital every half hour.",
    "A parking place at the airport costs twelve euros a day.",
    "Dogs must wear a muzzle on trams, cats must be in a basket.",
    "Tickets that were not used are refunded within two weeks.",
    "The museum is closed on Mondays and open late on Thursdays.",
    "Taxis from the harbour have a fixed price to the old town.",
]


def main(
    name: str = "bge-small-en-v1.5", question: str = "can I take my bike on the train?", file: str = "vectors.npy"
) -> None:
    """Embed the documents once, then sort them by their cosine to the question."""
    model = Embedder(name)
    if not Path(file).exists():  # delete the file when the documents or the model change
        np.save(file, model.encode_document(DOCUMENTS))
    scores = model.similarity(model.encode_query(question), np.load(file))[0]
    for position in scores.argsort()[::-1][:3]:
        print(f"{scores[position]:.3f}  {DOCUMENTS[position]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
