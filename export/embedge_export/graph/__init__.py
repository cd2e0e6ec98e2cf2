"""The float32 ONNX graph of a checkpoint: build it, prune it, convert it to float16, write it and run it.

Where to start reading: ``encoder`` holds ``build_pieces``, which yields a graph layer by layer (see ``piece``). It uses
``builder``, ``encoder_config`` and ``heads``. The other modules change or run such a graph: ``linear``, ``prune``,
``float16``, ``write`` and ``cpu_session``.
"""
