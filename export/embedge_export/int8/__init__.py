"""Int8 quantisation of a float32 graph: calibrate, smooth (SmoothQuant), quantise the weights (GPTQ) and the rows.

Where to start reading: ``embedge_export.convert`` calls ``by_layer``, which runs the texts through one layer after the
other (``text_states``, ``moments``), calls ``smooth`` and ``quantise``, and saves the layer (``saved_pieces``).
``quantise`` uses ``gptq`` for weights, ``activation_scale`` for rows, and ``attention_operator``. Then ``write_fused``
writes the same graph with the operators of embedge-kernels, whose nodes come from ``fuse``.

``mend_shares`` measures which layers of an int8 graph cause the most error, and ``mend_rows`` gives them rows of 16
bits.
"""
