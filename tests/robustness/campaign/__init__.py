"""What is done to embedge that nobody should do, and what is a fault in how it takes it. See ``run.py`` beside it."""
