"""Search with Haystack, then rerank: `python examples/with_haystack.py [MODEL] [RERANKER]`."""

import sys

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

from embedge.integrations.haystack import EmbedgeDocumentEmbedder, EmbedgeRanker, EmbedgeTextEmbedder

TEXTS = ["The bike has a flat tyre.", "Yeast makes dough rise.", "An oven must be hot before the loaf goes in."]


def main(model: str = "bge-small-en-v1.5", reranker: str = "bge-reranker-base") -> list[Document]:
    """Return the two texts that answer the question, best first."""
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    embedder = EmbedgeDocumentEmbedder(model=model)
    store.write_documents(embedder.run([Document(content=text) for text in TEXTS])["documents"])

    search = Pipeline()
    search.add_component("embedder", EmbedgeTextEmbedder(model=model))
    search.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=2))
    search.add_component("ranker", EmbedgeRanker(model=reranker, top_k=2))
    search.connect("embedder.embedding", "retriever.query_embedding")
    search.connect("retriever.documents", "ranker.documents")

    question = "how do I bake bread?"
    found = search.run({"embedder": {"text": question}, "ranker": {"query": question}})
    documents: list[Document] = found["ranker"]["documents"]
    return documents


if __name__ == "__main__":
    for document in main(*sys.argv[1:]):
        print(f"{document.score:.4f}  {document.content}")
