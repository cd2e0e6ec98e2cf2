"""Inference with another provider than the CPU's, such as CUDA. What only a GPU needs stays out of the CPU's imports.

1. Before a session is opened: ``prepare`` calls ``cuda``, which looks for a driver, a card and libraries.
   ``onnxruntime_packages`` says which package has a provider, and how to install it. ``provider_options`` holds the
   options that embedge sets.
2. After it is opened: ``node_assignment`` finds nodes that the provider leaves to the CPU, and ``provider_probe``
   compares its output with the CPU's. ``provider_errors`` and ``provider_advice`` say what went wrong and what to do.
3. For each call: ``schedule`` takes the place of the CPU's ``schedule``. ``pipeline`` tokenises on a thread while the
   card runs, ``padded_plan`` puts texts of similar length into a batch, and ``pool`` pools hidden states on the card.
"""
