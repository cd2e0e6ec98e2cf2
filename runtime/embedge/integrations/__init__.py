"""Adapters for other frameworks, one module or package each. Import the one that you need.

    langchain     EmbedgeEmbeddings, EmbedgeRerank                              pip install 'embedge[langchain]'
    llama_index   EmbedgeEmbedding, EmbedgeRerank                               pip install 'embedge[llama-index]'
    haystack      EmbedgeTextEmbedder, EmbedgeDocumentEmbedder, EmbedgeRanker   pip install 'embedge[haystack]'
    chroma        EmbedgeEmbeddingFunction                                      pip install 'embedge[chroma]'
    mteb          EmbedgeEncoder                                                pip install mteb
    daft          EmbedgeProvider                                               pip install 'embedge[daft]'
    lancedb       EmbedgeEmbeddings                                             pip install 'embedge[lancedb]'
    packed_bundle PackedBundle: a bundle as one value, for an engine's workers
    ray           embed_dataset, EmbedBatches, SparseBatches, RerankBatches     pip install 'embedge[ray]'

All of them put the model's query prompt in front of queries and its document prompt, if it has one, in front of
documents. BGE models have only a query prompt. Every ``model`` argument takes the name of a recipe, a hub id, the path
of a bundle, or a loaded ``Embedder`` or ``Reranker``, which several components can share.

The modules ``source``, ``encoding`` and ``extra`` are what the adapters have in common: how a component opens its
model, the options of its calls, and the error for a package that is not installed. ``arrow`` and ``tables`` are what
those of data engines have in common: texts out of Arrow columns, and vectors into them.
"""
