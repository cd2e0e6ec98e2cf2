"""What is exported: a checkpoint's files, settings and tensors."""
