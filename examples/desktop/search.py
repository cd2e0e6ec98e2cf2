"""A desktop app without a window: it finds the notes that answer a question, on the user's own machine.

pip install embedge pyinstaller
embedge bundle all-MiniLM-L6-v2 -o examples/desktop/bundle    # needs embedge[export], once
cd examples/desktop && pyinstaller search.spec
dist/search/search "can I take my bike on the train?"

A windowed app has no stdout: give it the name of a file for the results as the second argument.
"""

import os
import sys
from pathlib import Path

# Before numpy is imported: its OpenBLAS would start a thread for each core, which slows the start down.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from embedge import Embedder

NOTES = [
    "The ferry to the island leaves at seven in the morning and at noon.",
    "Bicycles travel free of charge outside rush hour.",
    "Lost luggage is kept for three months at the central station.",
    "Tickets that were not used are refunded within two weeks.",
    "The museum is closed on Mondays and open late on Thursdays.",
]
# PyInstaller and Nuitka set __file__ to where the app's files are.
BUNDLE = Path(__file__).with_name("bundle")


def main(question: str, results: str = "") -> None:
    """Print the notes with their cosine to the question, best first, or write them to a file."""
    model = Embedder(BUNDLE)
    scores = model.similarity(model.encode_query(question), model.encode_document(NOTES))[0]
    lines = "".join(f"{scores[position]:.3f}  {NOTES[position]}\n" for position in scores.argsort()[::-1])
    if results:
        Path(results).write_text(lines, encoding="utf-8")
    elif sys.stdout is not None:
        sys.stdout.write(lines)


if __name__ == "__main__":
    main(*sys.argv[1:])
