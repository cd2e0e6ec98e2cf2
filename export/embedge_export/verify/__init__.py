"""How near a bundle's graphs are to the reference."""
