"""Attacks on embedge with hostile input, and checks of its reactions. ``run.py``, one folder up, starts them."""
