"""A model's name -> its bundle: from the cache, from the Hugging Face Hub, or by the exporter.

Where to start reading: ``resolve`` is what ``Embedder`` calls. It looks in the ``cache``; if the bundle is not there,
or has no precision that a GPU runs, ``obtain`` gets it by ``download`` or from the ``exporter``. ``pull`` and ``push``
do the work of the commands of the same names; ``model_card`` writes a pushed bundle's README.md. ``client``,
``client_errors`` and ``download_file`` talk to the hub.
"""
