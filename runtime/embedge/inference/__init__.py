"""Inference: texts to token ids, batches, graph output, and then vectors, sparse vectors or scores.

Where to start reading: ``load`` opens a bundle, and ``engine`` does the steps of a call in order:

1. ``options``, ``sentence_transformers_keywords`` and ``input_texts`` check what the caller passed.
2. ``tokenise`` makes token ids. It uses ``tokenizer_file``, ``content_tokens`` and, for very long texts, ``shorten``
   and ``word_boundary``. ``truncation`` reports texts that are too long.
3. ``plan`` puts texts of equal length into batches.
4. ``workers`` runs the batches on sessions (``session``). ``run_times`` helps it to choose between one core for each
   batch and all cores for one batch; ``cpu`` counts the cores, and ``providers`` names ONNX Runtime's providers.
   A provider that is not the CPU's is checked: ``node_assignment`` finds nodes that it leaves to the CPU,
   ``provider_probe`` compares its output with the CPU's, and ``provider_advice`` says what to do.
5. ``collectors`` take the output, and ``pool`` or ``sparse`` turns it into the result. ``errstate`` ignores numpy's
   floating-point errors.

``similarity`` and ``late_interaction`` compare results; the engine does not use them.
"""
