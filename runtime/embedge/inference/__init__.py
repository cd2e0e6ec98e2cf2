"""Inference: texts to token ids, batches, graph output, and then vectors, sparse vectors or scores.

Where to start reading: ``load`` opens a bundle, and ``engine`` does the steps of a call in order:

1. ``options``, ``sentence_transformers_keywords`` and ``input_texts`` check what the caller passed.
2. ``tokenise`` makes token ids. It uses ``tokenizer_file``, ``content_tokens`` and, for very long texts, ``shorten``
   and ``word_boundary``. ``truncation`` reports texts that are too long.
3. ``plan`` puts texts of equal length into batches.
4. ``workers`` runs the batches on sessions (``session``; ``open_session`` opens them). ``run_times`` helps it to choose
   between one core for each batch and all cores for one batch; ``cpu`` counts the cores. ``providers`` reads which of
   ONNX Runtime's providers the caller asks for.
5. ``collectors`` take the output, and ``pool`` or ``sparse`` turns it into the result. ``errstate`` ignores numpy's
   floating-point errors.

``similarity`` and ``late_interaction`` compare results; the engine does not use them.
"""
