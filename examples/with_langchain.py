"""Search with LangChain, then rerank: `python examples/with_langchain.py [MODEL] [RERANKER]`."""

import sys

from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore

from embedge.integrations.langchain import EmbedgeEmbeddings, EmbedgeRerank

TEXTS = ["The bike has a flat tyre.", "Yeast makes dough rise.", "An oven must be hot before the loaf goes in."]


def main(model: str = "bge-small-en-v1.5", reranker: str = "bge-reranker-base") -> list[Document]:
    """Return the two texts that answer the question, best first."""
    embeddings = EmbedgeEmbeddings(model=model)
    store = InMemoryVectorStore(embeddings)
    store.add_texts(TEXTS)
    found = store.similarity_search("how do I bake bread?", k=2)
    compressor = EmbedgeRerank(model=reranker, top_n=2)
    return list(compressor.compress_documents(found, "how do I bake bread?"))


if __name__ == "__main__":
    for document in main(*sys.argv[1:]):
        print(f"{document.metadata['relevance_score']:.4f}  {document.page_content}")
