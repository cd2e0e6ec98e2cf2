"""The bundle on disk: its directory, its manifest, and how its files are checked, copied and replaced.

Where to start reading: ``directory`` holds the class ``Bundle``, and ``manifest`` the schema of ``embedge.json``.
``staging`` builds a new bundle beside the old one and puts it in place; ``write_files`` and ``copy`` write its files.
``precision`` chooses a graph, ``remedy`` writes the advice in errors, and ``cache_paths`` and ``commit`` say where a
bundle is and which hub commit it came from. The other modules work on single files: ``paths``, ``files``,
``atomic_write``, ``file_lock``, ``exchange``, ``checksum``, ``json_checksum`` and ``from_json``.
"""
