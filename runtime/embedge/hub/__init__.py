"""From a model's name to its bundle: the cache, the Hugging Face hub, the exporter."""
