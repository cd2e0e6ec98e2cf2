"""The bundle on disk: its directory, its manifest, and how its files are checked, copied and replaced."""
