"""Inference: texts to token ids, batches, graph output, and then vectors, sparse vectors or scores."""
