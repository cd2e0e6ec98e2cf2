"""Inference: texts to token ids, batches, graph output, and then vectors, sparse vectors or scores.

Where to start reading: ``load`` opens a bundle, and ``engine`` does the steps of a call in order:

1. ``options``, ``sentence_transformers_keywords`` and ``input_texts`` check what the caller passed.
2. ``tokenise`` makes token ids (``tokens``). It uses ``tokenizer_file``, ``content_tokens``, ``special_tokens`` and,
   for very long texts, ``shorten`` and ``word_boundary``. ``truncation`` reports texts that are too long.
3. ``schedule`` says when texts are tokenised, and which of them share a batch. ``plan`` puts texts of equal length
   together, for a CPU. ``token_batch`` makes the array of a batch.
4. ``workers`` runs the batches on sessions. ``run_times`` helps it to choose between one core for each batch and all
   cores for one batch; ``cpu`` counts the cores. ``open_session`` opens a ``session``, and ``graph_outputs`` checks
   what it gives.
5. ``collectors`` take the output, and ``pool`` or ``sparse`` turns it into the result. ``errstate`` ignores numpy's
   floating-point errors.

``providers`` reads which of ONNX Runtime's providers the caller asks for. Only a provider other than the CPU's needs
the modules of ``device``.

``similarity`` and ``late_interaction`` compare results; the engine does not use them.
"""
