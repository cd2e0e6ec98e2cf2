"""A model's name -> its bundle: from the cache, from the Hugging Face Hub, or by the exporter."""
