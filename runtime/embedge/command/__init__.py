"""The `embedge` command.

Where to start reading: ``main`` holds the list of subcommands. ``embed``, ``rerank``, ``bundles`` (pull, bundle, push),
``verify`` and ``info`` are subcommands. ``options`` declares the options that they share, ``write_vectors`` writes the
output of `embedge embed`, and ``footprint``, ``footprint_table`` and ``installed_packages`` belong to `embedge info`.
"""
