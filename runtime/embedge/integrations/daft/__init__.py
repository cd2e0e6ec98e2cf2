"""Daft: ``EmbedgeProvider`` for ``embed_text``.

    import daft
    from daft.functions import embed_text
    from embedge.integrations.daft import EmbedgeProvider

    rows = daft.from_pydict({"text": ["Yeast makes dough rise.", "The bike has a flat tyre."]})
    vector = embed_text(daft.col("text"), provider=EmbedgeProvider(), model="bge-small-en-v1.5")
    rows = rows.with_column("vector", vector).collect()

The new column's type is ``Embedding[Float32; dimension]``. Each worker process loads the model once, and its threads
share it.
"""

from embedge.integrations.daft.provider import EmbedgeProvider

__all__ = ["EmbedgeProvider"]
