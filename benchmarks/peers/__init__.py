"""The encoders that the benchmarks compare: one adapter module for each library. ``table`` lists them.

An adapter has two functions. ``build(bench, variant)`` writes the files of an encoder from a checkpoint. It may import
anything. ``load(kit) -> Encoder`` loads these files and imports only its library. An adapter is imported when its row
is wanted and its packages are installed.
"""
