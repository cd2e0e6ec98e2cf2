"""Sessions of nox: the stages of `.ci/run`, by their names. `nox --list` shows them, `nox -s bare` runs one.

`.ci/run` alone says what a stage does, and makes its environments: nox makes none.
"""

import re
from pathlib import Path

import nox

SCRIPT = Path(__file__).parent / ".ci" / "run"
STAGES = dict(re.findall(r'^if begins (\w+) "(.+)"; then$', SCRIPT.read_text(encoding="utf-8"), re.MULTILINE))

nox.options.sessions = ["lint", "light"]  # without -s


def add_session(stage: str, about: str) -> None:
    """Register the session that runs a stage."""

    def run(session: nox.Session) -> None:
        session.run("bash", str(SCRIPT), stage, external=True)

    run.__doc__ = f"{about[0].upper()}{about[1:]}."
    nox.session(run, name=stage, venv_backend="none")


for name, description in STAGES.items():
    add_session(name, description)
