"""The `embedge` command."""
