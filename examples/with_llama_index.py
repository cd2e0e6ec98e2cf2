"""Search with LlamaIndex, then rerank: `python examples/with_llama_index.py [MODEL] [RERANKER]`."""

import sys

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.schema import NodeWithScore

from embedge.integrations.llama_index import EmbedgeEmbedding, EmbedgeRerank

TEXTS = ["The bike has a flat tyre.", "Yeast makes dough rise.", "An oven must be hot before the loaf goes in."]


def main(model: str = "bge-small-en-v1.5", reranker: str = "bge-reranker-base") -> list[NodeWithScore]:
    """Return the two texts that answer the question, best first."""
    embed_model = EmbedgeEmbedding(model_name=model)
    index = VectorStoreIndex.from_documents([Document(text=text) for text in TEXTS], embed_model=embed_model)
    nodes = index.as_retriever(similarity_top_k=2).retrieve("how do I bake bread?")
    rerank = EmbedgeRerank(model=reranker, top_n=2)
    return rerank.postprocess_nodes(nodes, query_str="how do I bake bread?")


if __name__ == "__main__":
    for node in main(*sys.argv[1:]):
        print(f"{node.score:.4f}  {node.node.get_content()}")
