"""Reads a checkpoint: its files, its settings and its tensors."""
