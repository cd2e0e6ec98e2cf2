"""Adapters to other libraries. Each module is for one of them, and imported only by those who use it."""
