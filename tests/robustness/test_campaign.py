"""Some trials of each kind of attack; and that each kind sees a fault where one is planted."""

import json
import pickle
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import campaign.command
import campaign.configs
import campaign.encode
import campaign.kills
import campaign.pickles
import embedge.hub.pull
import embedge.inference.collectors
from campaign.kinds import KINDS, NEEDED
from campaign.program import Campaign, prepare, table
from campaign.trial import Bench, run_trial
from campaign.watch import Ended, watch
from embedge import Bundle, Embedder
from embedge.inference.special_tokens import SpecialTokens

# Of each kind so many, which take some seconds; the campaign itself runs for minutes.
TRIALS = {
    **{"damage": 25, "manifest": 60, "graphs": 60, "tokenizers": 60, "encode": 60, "long": 3},
    **{"kills": 3, "configs": 20, "peers": 2, "pickles": 50, "hub": 8, "command": 12},
}
PROGRAM = Path(__file__).with_name("run.py")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the campaign's own small checkpoint and bundle."""
    place = tmp_path_factory.mktemp("robustness")
    prepare(place, None)
    return place


@pytest.fixture
def bench(folder: Path, tmp_path: Path) -> Bench:
    return Bench(folder / "bench" / "checkpoint", folder / "bench" / "bundle", tmp_path)


@pytest.mark.parametrize("name", KINDS)
def test_some_trials_of_each_kind_end_well(folder: Path, name: str) -> None:
    if name in NEEDED and not find_spec(NEEDED[name]):
        pytest.skip(f"needs {NEEDED[name]}")
    found = Campaign([name], seed=0, folder=folder, trials=TRIALS[name])
    found.run(300, lanes=1)
    assert found.tallies[name].faults == [], table(found.tallies, 0)
    assert found.tallies[name].trials == TRIALS[name]


def _changed_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    opened = Bundle.open
    other = classmethod(lambda kind, path: replace(b := opened(path), manifest=replace(b.manifest, max_tokens=7)))
    monkeypatch.setattr(Bundle, "open", other)


def _unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bundle, "check", lambda *arguments, **more: None)


def _longer_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedge.inference.collectors, "normalise", lambda vectors: np.full_like(vectors, 2))


def _a_token_less(monkeypatch: pytest.MonkeyPatch) -> None:
    add = SpecialTokens.add
    monkeypatch.setattr(SpecialTokens, "add", lambda *arguments: add(*arguments)[:-1])


def _batch_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        embedge.inference.collectors, "pool", lambda hidden, pooling, counts: hidden[:, 0] + np.float32(len(hidden))
    )


def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign.encode, "_LONG_LIMIT", 0)


def _half_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is killed, and what is run next, write half of what they should."""

    def half(operation: str, bench: Bench, out: Path) -> list[str]:
        place = bench.folder / "home" / "bundles" / "someone--tiny-bundle" if operation == "pull" else out
        code = "import os, sys; os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True); open(sys.argv[1], 'w')"
        return [sys.executable, "-c", code, str(place)]

    monkeypatch.setattr(campaign.kills, "_command", half)


def _not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def export(*arguments: object, **more: object) -> None:
        raise KeyError("hidden_size")

    monkeypatch.setattr(campaign.configs, "export", export)


def _unpickles(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Python's own unpickler does."""

    def load(path: Path) -> object:
        with zipfile.ZipFile(path) as file:
            return pickle.loads(file.read("archive/data.pkl"))

    monkeypatch.setattr(campaign.pickles, "PickledTensors", load)


def _takes_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes from the hub is another file."""

    def pull(name: str, *, cache_dir: Path, **more: Any) -> Bundle:
        place = Path(shutil.copytree(monkeypatch_bundle[0], cache_dir / "bundles" / "x"))
        (place / "tokenizer.json").write_text("{}")
        return Bundle.open(place)

    monkeypatch.setattr(embedge.hub.pull, "pull", pull)
    _unchecked(monkeypatch)


def _raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends as Python does."""

    class _Sys:
        executable = shutil.which("false")

    monkeypatch.setattr(campaign.command, "sys", _Sys)


monkeypatch_bundle: list[Path] = []  # of the bench, for those that copy it
PLANTED: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "damage": _unchecked,
    "manifest": _changed_manifest,
    "graphs": _longer_vectors,
    "tokenizers": _a_token_less,
    "encode": _batch_matters,
    "long": _impatient,
    "kills": _half_written,
    "configs": _not_ours,
    "peers": _not_ours,
    "pickles": _unpickles,
    "hub": _takes_anything,
    "command": _raises,
}


@pytest.mark.parametrize("name", KINDS)
def test_a_planted_fault_is_seen(bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """None of the trials that ended well did so because nothing was looked at."""
    monkeypatch_bundle[:] = [bench.bundle]
    PLANTED[name](monkeypatch)
    assert any(run_trial(KINDS[name], bench, seed=0, index=index) for index in range(40))


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("import os; os.abort()", "the process ends: SIGABRT; "),
        ("import os; os._exit(3)", "the process ends: exit code 3; "),
        ("import time; time.sleep(60)", "hangs: no end after 1 s"),
    ],
)
def test_a_trial_that_takes_the_process_with_it_is_a_fault(code: str, fault: str, tmp_path: Path) -> None:
    """And the ones before it are not lost."""
    lines = 'print(\'{"begin": 4}\\n{"end": 4, "fault": null}\\n{"begin": 5}\', flush=True)'
    worker = [sys.executable, "-c", f"{lines}\n{code}"]
    found = list(watch(worker, limit=1, until=time.monotonic() + 60, log=tmp_path / "log"))
    assert found == [Ended(4, None), Ended(5, fault)]


def test_the_program_tells_what_it_found(tmp_path: Path) -> None:
    """In a table and as JSON; and by its exit code."""
    arguments = ["--only", "manifest,pickles", "--trials", "5", "--json", str(tmp_path / "found.json")]
    done = subprocess.run([sys.executable, PROGRAM, *arguments], capture_output=True, text=True, check=False)
    found = json.loads((tmp_path / "found.json").read_text())["kinds"]
    assert {name: tally["trials"] for name, tally in found.items()} == {"manifest": 5, "pickles": 5}, done.stderr
    assert done.returncode == any(tally["faults"] for tally in found.values())
    assert done.stdout.splitlines()[1].split()[:2] == ["manifest", "5"]


def test_the_same_seed_makes_the_same_trials(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another process, too: what is wrong can be seen again."""
    code = "import sys; from test_campaign import run_trials; run_trials(sys.argv[1], sys.argv[2])"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code, str(bench.checkpoint), str(bench.bundle)],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": ":".join([str(PROGRAM.parent), *sys.path]), "PATH": "/usr/bin"},
        ).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert len(set(runs[0].splitlines())) > 10


def run_trials(checkpoint: str, bundle: str) -> None:
    """Prints what planted faults say, which is what was done to the bundle."""
    import tempfile

    with pytest.MonkeyPatch.context() as monkeypatch, tempfile.TemporaryDirectory() as scratch:
        _unchecked(monkeypatch)
        monkeypatch.setattr(Embedder, "encode", lambda *arguments, **more: np.zeros((4, 32), np.float32))
        for index in range(40):
            print(run_trial(KINDS["damage"], Bench(Path(checkpoint), Path(bundle), Path(scratch)), seed=1, index=index))
