"""From text to vectors and scores."""
