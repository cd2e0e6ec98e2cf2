"""Hooks for PyInstaller, which finds them by the entry point ``hook-dirs`` of the group ``pyinstaller40``.

PyInstaller's documentation names this folder. Nothing in embedge imports it.
"""

from pathlib import Path


def hook_dirs() -> list[str]:
    """Return the folder of the hooks."""
    return [str(Path(__file__).parent)]
