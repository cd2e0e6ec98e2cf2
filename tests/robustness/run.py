"""The campaign of hostile input: `python tests/robustness/run.py --help`. What it does is in ``campaign``."""

import sys
from pathlib import Path

here = Path(__file__).resolve().parent
sys.path += [str(here.parent / "shared"), str(here.parents[1] / "benchmarks")]

if __name__ == "__main__":
    from campaign.program import main

    main()
