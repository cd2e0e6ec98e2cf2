"""Haystack 2: ``EmbedgeTextEmbedder``, ``EmbedgeDocumentEmbedder`` and ``EmbedgeRanker``.

    from haystack import Document
    from embedge.integrations.haystack import EmbedgeDocumentEmbedder, EmbedgeTextEmbedder

    documents = [Document(content="Yeast makes dough rise."), Document(content="The bike has a flat tyre.")]
    embedded = EmbedgeDocumentEmbedder(model="bge-small-en-v1.5").run(documents)["documents"]
    vector = EmbedgeTextEmbedder(model="bge-small-en-v1.5").run("how do I bake bread?")["embedding"]

The model is loaded by ``warm_up``, which a pipeline calls, or by the first ``run``. The options have the names of
Haystack's own embedders and rankers, but ``precision`` is the precision of the graph, as everywhere in embedge.

A pipeline that was saved with these components loads only if you allow their module:
``Pipeline.load(file, allowed_modules=["embedge.integrations.haystack"])``.
"""

from embedge.integrations.extra import needs_extra

with needs_extra("haystack"):
    from embedge.integrations.haystack.embedders import EmbedgeDocumentEmbedder, EmbedgeTextEmbedder
    from embedge.integrations.haystack.ranker import EmbedgeRanker

__all__ = ["EmbedgeDocumentEmbedder", "EmbedgeRanker", "EmbedgeTextEmbedder"]
