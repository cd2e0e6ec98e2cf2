"""Export with Hugging Face Optimum, which the extra ``optimum`` installs.

``trace`` makes the reference graph that ``verify`` compares with. ``traced_graph`` turns such a graph into a bundle's
graph, for architectures that the native exporter (``graph`` and ``int8``) does not know.
"""
