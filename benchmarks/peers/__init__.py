"""The encoders that benchmarks compare, one adapter module for each library; ``table`` lists them.

An adapter ``peers.<module>`` has ``build(bench, variant)``, which makes files of a checkpoint and may be heavy, and
``load(kit) -> Encoder``, which loads them and imports nothing but its library. It is itself imported when its row is
wanted and its packages are there.
"""
