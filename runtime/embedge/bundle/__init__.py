"""What is on disk: the bundle's directory, its manifest, its files."""
