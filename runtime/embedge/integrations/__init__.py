"""embedge in other frameworks: a module or package each, imported only by its user.

    langchain     EmbedgeEmbeddings, EmbedgeRerank                              pip install 'embedge[langchain]'
    llama_index   EmbedgeEmbedding, EmbedgeRerank                               pip install 'embedge[llama-index]'
    haystack      EmbedgeTextEmbedder, EmbedgeDocumentEmbedder, EmbedgeRanker   pip install 'embedge[haystack]'
    chroma        EmbedgeEmbeddingFunction                                      pip install 'embedge[chroma]'
    mteb          EmbedgeEncoder                                                pip install mteb

Queries get the model's query prompt and documents do not, in all of them. ``source`` is which model a component has and
how it was opened, ``encoding`` what it asks of an ``Embedder``, ``extra`` the error where a package is missing.
"""
