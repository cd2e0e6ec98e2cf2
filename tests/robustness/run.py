"""The campaign of hostile input, as a program: `python tests/robustness/run.py --help`."""

import sys
from pathlib import Path

here = Path(__file__).resolve().parent
sys.path += [str(here.parent / "shared"), str(here.parents[1])]

if __name__ == "__main__":
    from campaign.program import main

    main()
