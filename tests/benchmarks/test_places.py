"""places.py: what cannot run is left out and says why; sizes, counts and peaks are right; pages quote the run."""

import json
import math
import re
import shutil
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from click.testing import CliRunner, Result

from benchmarks import places
from benchmarks.measure import board_place, desktop_places, javascript_places, python_places
from benchmarks.measure.board_place import counted, peak_of
from benchmarks.measure.javascript_places import dependencies
from benchmarks.measure.place import CannotRunError, Place, Prepare, forget_files, plain_environment, size_of
from benchmarks.measure.process_start import Run, StartError
from embedge import Bundle

ROOT = Path(__file__).parents[2]
SAVED = ROOT / "benchmarks" / "results" / "places-all-MiniLM-L6-v2.json"


def run(monkeypatch: pytest.MonkeyPatch, bundle: Bundle, *options: str, **own: Prepare) -> Result:
    """The program, with places of the test."""
    monkeypatch.setattr(places, "PLACES", own)
    return CliRunner().invoke(places.main, ["-b", str(bundle.path), *options])


def test_places_start_in_turn_and_the_table_has_the_median(
    monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    order: list[str] = []

    def prepare(name: str) -> Prepare:
        def start() -> Run:
            order.append(name)
            return Run([999.0, 30, 10, 20][order.count(name) - 1], 5_000_000)  # the first is not timed

        return lambda bundle, work: Place(sizes={"zipped": 1_500_000, "unpacked": 2_000_000}, start=start)

    file = tmp_path / "places.json"
    done = run(monkeypatch, tiny_bundle, "--rounds", "3", "-o", str(file), a=prepare("a"), b=prepare("b"))
    assert done.exit_code == 0, done.output
    row = next(line for line in done.stdout.splitlines() if line.startswith("| a "))
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "a",
        "1.5 zipped, 2.0 unpacked",
        *("20", "10", "3", "5"),
    ]
    assert "".join(order) == "ba" + "ab" + "ba" + "ab"  # each round begins with another place
    saved = json.loads(file.read_text(encoding="utf-8"))
    assert [one["milliseconds"] for one in saved["rows"]["b"]["runs"]] == [30, 10, 20]
    assert saved["machine"]["processor"] in done.stdout


def test_what_cannot_run_is_left_out_and_says_why(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle) -> None:
    def lacking(bundle: Path, work: Path) -> Place:
        raise CannotRunError("needs a tool: install it")

    def failing(bundle: Path, work: Path) -> Place:
        def start() -> Run:
            raise StartError("it ended with 3")

        return Place(sizes={"in all": 1}, start=start)

    def board(bundle: Path, work: Path) -> Place:
        return Place(sizes={"in all": 3_000_000}, memory=7_000_000, notes=("not timed",))

    done = run(monkeypatch, tiny_bundle, "--rounds", "2", lacking=lacking, failing=failing, board=board)
    assert done.exit_code == 0, done.output
    assert "- left out: lacking: needs a tool: install it" in done.stdout
    assert "- left out: failing: it ended with 3" in done.stdout
    assert "- board: not timed" in done.stdout
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")][2:]
    assert [[cell.strip() for cell in row.strip("|").split("|")] for row in rows] == [
        ["board", "3.0 in all", "", "", "", "7"]
    ]


def test_places_are_chosen_by_name(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle) -> None:
    def broken(bundle: Path, work: Path) -> Place:
        raise AssertionError("was not chosen")

    names: dict[str, Any] = {"desktop: Nuitka": broken, "node": broken}
    assert run(monkeypatch, tiny_bundle, "--only", "desktop*", **names).exit_code == 2  # Nuitka needs --nuitka
    assert isinstance(run(monkeypatch, tiny_bundle, "--only", "n*", **names).exception, AssertionError)


def test_a_place_gets_one_precision(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle) -> None:
    found: list[str] = []

    def prepare(bundle: Path, work: Path) -> Place:
        found.extend(Bundle.open(bundle).manifest.precisions)
        return Place(sizes={"in all": 1})

    assert len(tiny_bundle.manifest.precisions) > 1
    run(monkeypatch, tiny_bundle, a=prepare)
    assert found == ["int8"]


@pytest.mark.parametrize(
    "prepare", [javascript_places.node, javascript_places.web_assembly, javascript_places.chromium]
)
def test_javascript_needs_node_and_its_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, prepare: Prepare
) -> None:
    monkeypatch.setattr(javascript_places, "FOLDER", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/node")
    with pytest.raises(CannotRunError, match="npm ci --ignore-scripts --prefix tests/javascript"):
        prepare(tmp_path, tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(CannotRunError, match="needs node and npm"):
        prepare(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("prepare", "package"),
    [
        (desktop_places.folder, "pyinstaller"),
        (desktop_places.one_file, "pyinstaller"),
        (desktop_places.nuitka, "nuitka"),
    ],
)
def test_a_desktop_app_needs_its_packer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_bundle: Bundle, prepare: Prepare, package: str
) -> None:
    monkeypatch.setattr(desktop_places, "find_spec", lambda name: None)
    with pytest.raises(CannotRunError, match=f"pip install {package}"):
        prepare(tiny_bundle.path, tmp_path)


def test_one_file_leaves_out_what_the_spec_leaves_out() -> None:
    """The spec is run, as PyInstaller does, with a class that keeps its arguments."""

    class Analysis:
        pure, scripts, binaries, datas = "", "", "", ""

        def __init__(self, scripts: list[str], *, datas: object, excludes: list[str]) -> None:
            assert excludes == desktop_places.unused_modules()

    names = {"Analysis": Analysis} | dict.fromkeys(("EXE", "PYZ", "COLLECT"), lambda *given, **options: None)
    exec((ROOT / "examples" / "desktop" / "search.spec").read_text(encoding="utf-8"), names)
    assert "huggingface_hub" in desktop_places.unused_modules()


def test_dependencies_are_those_that_node_would_find() -> None:
    packages = {
        "": {"dependencies": {"a": "1", "z": "1"}},
        "node_modules/a": {"dependencies": {"b": "2"}, "optionalDependencies": {"c": "1", "absent": "1"}},
        "node_modules/a/node_modules/b": {"dependencies": {"d": "1"}},
        "node_modules/b": {"dependencies": {"z": "1"}},
        "node_modules/c": {"dependencies": {"a": "1"}},
        "node_modules/d": {},
        "node_modules/z": {},
    }
    found = {"node_modules/a", "node_modules/a/node_modules/b", "node_modules/c", "node_modules/d"}
    assert dependencies({"packages": packages}, "a") == found


def test_the_packages_of_transformers_js_are_not_those_of_the_browser() -> None:
    lock = json.loads((javascript_places.FOLDER / "package-lock.json").read_text(encoding="utf-8"))
    found = dependencies(lock, "@huggingface/transformers")
    assert {"node_modules/onnxruntime-node", "node_modules/onnxruntime-web", "node_modules/sharp"} <= found
    assert not {"node_modules/puppeteer-core", "node_modules/@sparticuz/chromium"} & found


def test_a_query_is_counted_as_the_page_does(tmp_path: Path) -> None:
    """docs/boards.md gives bge-small's tokens a second on the same cores."""
    config = {"num_hidden_layers": 12, "hidden_size": 384, "intermediate_size": 1536}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    page = (ROOT / "docs" / "boards.md").read_text(encoding="utf-8")
    text = counted(tmp_path)
    for core in ("Cortex-A72", "Cortex-A76"):
        row = re.search(rf"^\| {core}, .*\| ([\d,]+) \|$", page, flags=re.MULTILINE)
        found = re.search(rf"([\d.]+) ms on a {core}", text)
        assert row
        assert found
        assert math.isclose(float(found[1]), 1000 * 10 / int(row[1].replace(",", "")), rel_tol=0.02)


STEPS = [
    "[    0.000000] a line of the kernel",
    '{"step": "python", "resident": 13, "share": 13, "private": 13, "anonymous": 8, "peak": 14}',
    '{"step": "load", "resident": 70, "share": 70, "private": 70, "anonymous": 36, "peak": 90}',
    '{"step": "one query", "resident": 85, "share": 84, "private": 84, "anonymous": 37, "peak": 84}',
]


def test_the_peak_of_a_board_ends_with_the_first_vector() -> None:
    later = '{"step": "1,000 short texts", "resident": 200, "share": 9, "private": 9, "anonymous": 9, "peak": 244}'
    assert peak_of([*STEPS, later]) == 90
    assert peak_of(STEPS[:-1]) is None


def test_a_board_that_cannot_be_emulated_has_no_memory_and_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_bundle: Bundle
) -> None:
    script = tmp_path / "board.py"
    monkeypatch.setattr(board_place, "_SCRIPT", script)
    monkeypatch.setattr(board_place, "ship", lambda *given: tiny_bundle)  # has a path, as an output of ship
    for code, expected in ((77, "memory not measured: no qemu"), (1, "did not get to its first vector: no qemu")):
        script.write_text(f"import sys; print('no qemu', file=sys.stderr); sys.exit({code})", encoding="utf-8")
        place = board_place.board(tiny_bundle.path, tmp_path)
        assert place.memory is None
        assert expected in place.notes[-1]
        assert place.start is None
        assert any("time cannot be measured" in note for note in place.notes)
    script.write_text(f"print({chr(10).join(STEPS)!r}, flush=True)\ninput()", encoding="utf-8")
    assert board_place.board(tiny_bundle.path, tmp_path).memory == 90


def test_the_size_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(b"x" * 1000)
    (tmp_path / "b").write_bytes(b"x" * 10)
    (tmp_path / "link").symlink_to("in/a")
    assert size_of(tmp_path) == 1010 + len("in/a")
    assert size_of(tmp_path / "in" / "a") == 1000


@pytest.mark.skipif(sys.platform != "linux", reason="posix_fadvise")
def test_forgotten_files_are_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    (tmp_path / "link").symlink_to("nowhere")
    forget_files(tmp_path)
    assert (tmp_path / "a").read_bytes() == b"x" * 100_000


def test_a_start_gets_no_variable_of_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "EMBEDGE_HOME", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    found = plain_environment(tmp_path, EMBEDGE_MODEL="here")
    assert set(found) <= {"PATH", "HOME", "LANG", "TMPDIR", "OPENBLAS_NUM_THREADS", "EMBEDGE_MODEL"}
    assert Path(found["TMPDIR"]).is_dir()


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_node_starts(tiny_bundle: Bundle, tmp_path: Path) -> None:
    from embedge.bundle.copy import copy_bundle

    try:
        place = javascript_places.node(copy_bundle(tiny_bundle, tmp_path / "cut", precisions=["int8"]).path, tmp_path)
    except CannotRunError as error:
        pytest.skip(str(error))
    of_bundle, needed, everything = place.sizes.values()
    assert of_bundle < needed < everything
    assert place.start
    found = place.start()
    assert found.milliseconds > 50
    assert found.bytes > 50_000_000


def test_the_programs_own_table_is_in_the_readme_of_the_benchmarks() -> None:
    """Every place of the run has a row there, and every place of the program has one or is Nuitka."""
    saved = json.loads(SAVED.read_text(encoding="utf-8"))
    names = set(saved["rows"])
    assert names == set(places.PLACES) - {"desktop: Nuitka"}
    page = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8").partition("## places.py")[2]
    assert names <= {line.strip("|").split("|")[0].strip() for line in page.splitlines() if line.startswith("|")}


LAPTOP, CONTAINER, GOOGLE = "laptop: `pip install`, a script", "container: `python -m", "Google Cloud function"
LAMBDA, ARM = "AWS Lambda, x86-64", "AWS Lambda, Arm"
FOLDER, FILE = "desktop: PyInstaller, a folder", "desktop: PyInstaller, one file"
NODE, WASM, CHROMIUM = "node, Electron's main process", "WebAssembly in node", "browser: a page in Chromium"
QUOTES = [
    ("README.md", "| [laptop]", (LAPTOP, CONTAINER)),
    ("README.md", "| [AWS Lambda]", (LAMBDA, GOOGLE)),
    ("README.md", "| [desktop app]", (FOLDER, FILE)),
    ("README.md", "| [node, ", (NODE, CHROMIUM)),
    ("docs/serverless.md", "| AWS Lambda, x86-64 |", (LAMBDA,)),
    ("docs/serverless.md", "| container | 117", (CONTAINER,)),
    ("docs/serverless.md", "| Google Cloud function |", (GOOGLE,)),
    ("docs/desktop.md", "| a folder |", (FOLDER,)),
    ("docs/desktop.md", "| one file", (FILE,)),
    ("docs/javascript.md", "| node 20, `onnxruntime-node` |", (NODE,)),
    ("docs/javascript.md", "| node 20, `onnxruntime-web`", (WASM,)),
    ("docs/javascript.md", "| page in Chromium", (CHROMIUM,)),
    *(("benchmarks/README.md", f"| {name}", (name,)) for name in (LAPTOP, LAMBDA, CONTAINER, GOOGLE)),
    *(("benchmarks/README.md", f"| {name}", (name,)) for name in (FOLDER, FILE, NODE, WASM, CHROMIUM)),
]


@pytest.mark.parametrize(("page", "begin", "names"), QUOTES)
def test_a_page_quotes_the_saved_run(page: str, begin: str, names: tuple[str, ...]) -> None:
    """The medians of time and memory; each number of the size is one of the place's, or the difference of two."""
    rows: dict[str, Any] = json.loads(SAVED.read_text(encoding="utf-8"))["rows"]
    found = [next(row for name, row in rows.items() if name.startswith(wanted)) for wanted in names]
    text = (ROOT / page).read_text(encoding="utf-8")
    (line,) = (line for line in (text.partition("## places.py")[2] or text).splitlines() if line.startswith(begin))
    _, size, milliseconds, *_, memory = (cell.strip().replace(",", "") for cell in line.strip("|").split(" | "))
    assert milliseconds == "; ".join(f"{median(run['milliseconds'] for run in row['runs']):.0f}" for row in found)
    assert memory == "; ".join(f"{median(run['bytes'] for run in row['runs']) / 1e6:.0f}" for row in found)
    own = [one for row in found for one in row["sizes"].values()]
    own += rows[ARM]["sizes"].values() if LAMBDA in names else []
    sizes = {abs(one - other) for one in own for other in (0, own[-1])}  # what is fetched without the bundle
    shown = {f"{one / 1e6:.{digits}f}" for one in sizes for digits in (0, 1)}
    numbers = re.findall(r"\d[\d.]*", size)
    assert numbers
    assert set(numbers) <= shown


def test_pages_quote_the_board() -> None:
    row = json.loads(SAVED.read_text(encoding="utf-8"))["rows"]["ARM board"]
    (size,) = (f"{one / 1e6:.0f}" for one in row["sizes"].values())
    memory = f"{row['memory'] / 1e6:.0f}"
    assert f"| {size} | not measured | {memory}, emulated |" in (ROOT / "README.md").read_text(encoding="utf-8")
    page = " ".join((ROOT / "docs" / "boards.md").read_text(encoding="utf-8").split())
    assert f"has a peak of {memory} MB up to its first vector" in page
    assert f"for a board has {size} MB" in page


def test_a_place_that_cannot_be_shipped_to_says_why(
    monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    """AWS's runtime for Python 3.11 is too old for onnxruntime."""
    monkeypatch.setattr(python_places, "this_python", lambda: "3.11")
    with pytest.raises(CannotRunError, match=r"Python 3\.11.*this program ships for the Python that runs it"):
        python_places.aws_lambda("aarch64")(tiny_bundle.path, tmp_path)
