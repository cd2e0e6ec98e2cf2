"""Inference with another provider than the CPU: a GPU, mostly. Nothing here is imported for the CPU.

1. Before a session: ``prepare`` and ``cuda`` look for a driver, a card and libraries. ``onnxruntime_packages`` says
   which package has a provider, and how to install it. ``provider_options`` are embedge's own.
2. When it is open: ``node_assignment`` finds nodes that the provider leaves to the CPU, and ``provider_probe`` compares
   its output with the CPU's. ``provider_errors`` and ``provider_advice`` say what went wrong and what to do.
3. For each call: ``schedule`` takes the place of the CPU's ``schedule``. ``pipeline`` tokenises on a thread while the
   card runs, ``padded_plan`` puts texts of similar length into a batch, and ``pool`` pools hidden states on the card.
"""
