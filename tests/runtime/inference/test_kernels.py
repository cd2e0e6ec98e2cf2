"""kernels.py and load.py: which graph runs, with libraries that hold no kernels. The real ones have tests of their own.

Where a library can be loaded, the fused graph of these tests is the bundle's fp32 graph: so the vectors say which graph
ran.
"""

import ctypes
import os
import pickle
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import (
    Bundle,
    BundleCorruptError,
    BundleError,
    Embedder,
    InputTypeError,
    InputValueError,
    MissingExtraError,
    ProviderError,
)
from embedge.inference import kernels
from embedge.inference.kernels import KernelsError
from fake_kernels import FUSED, MODULE, add_fused, compile_library, install, write_package
from no_card import CUDA

TEXTS = ["the cat", "a dog far away", "bake bread"]


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMBEDGE_KERNELS", raising=False)
    monkeypatch.delenv("EMBEDGE_KERNELS_ISA", raising=False)


@pytest.fixture
def fused(tiny_bundle: Bundle, tmp_path: Path) -> Path:
    """A bundle with a fused graph."""
    folder = Path(shutil.copytree(tiny_bundle.path, tmp_path / "bundle"))
    if not (folder / FUSED).exists():
        add_fused(folder)
    return folder


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The library of an installed package; it is no library yet."""
    path = write_package(tmp_path / "site")
    install(monkeypatch, tmp_path / "site")
    return path


@pytest.fixture
def working(library: Path, fused: Path) -> Path:
    """A library that ONNX Runtime loads; the fused graph of the bundle is its fp32 graph."""
    compile_library(library)
    add_fused(fused)
    return library


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, MODULE, None)


def vectors(bundle: Bundle | Path, **options: Any) -> Any:
    return Embedder(bundle.path if isinstance(bundle, Bundle) else bundle, **options).encode(TEXTS)


def plain_vectors(bundle: Bundle) -> Any:
    return vectors(bundle, precision="int8", kernels=False)


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("asked", [None, False])
def test_where_nothing_is_installed_the_plain_graph_runs_in_silence(
    tiny_bundle: Bundle, fused: Path, asked: bool | None
) -> None:
    model = Embedder(fused, kernels=asked)
    assert model.kernels is None
    np.testing.assert_array_equal(model.encode(TEXTS), plain_vectors(tiny_bundle))


def test_a_library_runs_the_fused_graph(working: Path, fused: Path) -> None:
    for asked in (None, True):
        model = Embedder(fused, kernels=asked)
        assert (model.kernels, model.precision) == ("scalar", "int8")
        np.testing.assert_array_equal(model.encode(TEXTS), vectors(fused, precision="fp32"))


def test_a_library_is_left_out_if_asked_for(
    working: Path, fused: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = plain_vectors(tiny_bundle)
    assert Embedder(fused, kernels=False).kernels is None
    np.testing.assert_array_equal(vectors(fused, kernels=False), expected)
    monkeypatch.setenv("EMBEDGE_KERNELS", "off")
    np.testing.assert_array_equal(vectors(fused), expected)
    assert not np.array_equal(vectors(fused, precision="fp32"), expected)


@pytest.mark.parametrize("value", ["", "on"])
def test_the_variable_may_say_that_the_kernels_are_wanted(
    working: Path, fused: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("EMBEDGE_KERNELS", value)
    assert Embedder(fused).kernels == "scalar"


def test_all_cores_share_one_session(working: Path, fused: Path) -> None:
    """Of the library alone, which counts how often a session is opened with it."""
    count = ctypes.CDLL(str(working)).registrations
    before = count()
    model = Embedder(fused, threads=2, kernels=True)
    model.encode(TEXTS * 40, batch_tokens=16)
    assert count() == before + 1


def test_one_text_after_the_other_opens_a_session_over_all_cores(
    working: Path, fused: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedge.model.usable_cores", lambda: 2)
    count = ctypes.CDLL(str(working)).registrations
    before = count()
    model = Embedder(fused, kernels=True)
    expected = model.encode("the cat " * 20)
    for _ in range(40):
        np.testing.assert_allclose(model.encode("the cat " * 20), expected, atol=1e-6)  # sums of fp32, see ``fused``
    assert count() == before + 2


def test_a_session_that_is_open_needs_no_library(working: Path, fused: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the package was removed since, no session over all cores is opened, and no call fails."""
    monkeypatch.setattr("embedge.model.usable_cores", lambda: 2)
    model = Embedder(fused, kernels=True)
    expected = model.encode("the cat " * 20)
    working.unlink()
    for _ in range(40):
        np.testing.assert_array_equal(model.encode("the cat " * 20), expected)
    assert model.kernels == "scalar"


@pytest.mark.parametrize("kind", ["content", "size", "missing"])
def test_a_damaged_fused_graph_is_an_error(working: Path, fused: Path, tiny_bundle: Bundle, kind: str) -> None:
    """Whatever ONNX Runtime says of it, and though the plain graph is whole."""
    path = fused / FUSED
    content = path.read_bytes()
    if kind == "missing":
        path.unlink()
    else:
        path.write_bytes(b"x" * (len(content) - (kind == "size")))
    for asked in (None, True):
        with pytest.raises(BundleCorruptError, match=FUSED):
            Embedder(fused, kernels=asked)
    np.testing.assert_array_equal(vectors(fused, kernels=False), plain_vectors(tiny_bundle))


def test_a_bit_of_the_fused_graph_that_flips_is_an_error(working: Path, fused: Path) -> None:
    """Here of the name of what made it, which ONNX Runtime does not mind."""
    path = fused / FUSED
    content = path.read_bytes()
    path.write_bytes(content[:3] + bytes([content[3] ^ 1]) + content[4:])
    with pytest.raises(BundleCorruptError, match=f"{FUSED} has changed"):
        Embedder(fused)


def check_plain_with_warning(fused: Path, expected: Any, reason: str) -> None:
    """Check that a bundle loads its plain graph with a warning that names the reason and this file."""
    with pytest.warns(RuntimeWarning, match=reason) as seen:
        model = Embedder(fused)
    (warning,) = seen
    assert warning.filename == __file__
    message = str(warning.message)
    assert message.startswith("embedge-kernels ")
    assert message.endswith(
        ", so the slower plain graph runs; run `pip install -U embedge-kernels`, or set EMBEDGE_KERNELS=off"
    )
    assert model.kernels is None
    np.testing.assert_array_equal(model.encode(TEXTS), expected)
    with pytest.raises(ProviderError, match=reason) as found:
        Embedder(fused, kernels=True)
    assert str(found.value).endswith("; run `pip install -U embedge-kernels`, or pass kernels=False")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(vectors(fused, kernels=False), expected)


def test_a_file_that_is_no_library_is_a_warning(library: Path, fused: Path, tiny_bundle: Bundle) -> None:
    check_plain_with_warning(fused, plain_vectors(tiny_bundle), r"embedge-kernels 9\.8\.7 .*library\.so")


def test_a_library_that_is_gone_is_a_warning(library: Path, fused: Path, tiny_bundle: Bundle) -> None:
    library.unlink()
    check_plain_with_warning(fused, plain_vectors(tiny_bundle), r"library\.so")


def test_a_library_without_the_functions_is_a_warning(library: Path, fused: Path, tiny_bundle: Bundle) -> None:
    compile_library(library, says=False)
    add_fused(fused)
    check_plain_with_warning(fused, plain_vectors(tiny_bundle), "embedge_kernels_instruction_set")


def test_a_library_that_lacks_the_graphs_operators_is_a_warning(
    working: Path, fused: Path, tiny_bundle: Bundle
) -> None:
    """As an old library does of a new graph: ONNX Runtime's reason is in the warning."""
    onnx = pytest.importorskip("onnx", reason="needs onnx, to write a graph")
    graph = onnx.load(fused / "onnx/model_int8.onnx", load_external_data=False)
    graph.opset_import.append(onnx.helper.make_opsetid("embedge", 7))
    graph.graph.node.append(onnx.helper.make_node("Nosuch", ["input_ids"], ["nosuch"], domain="embedge"))
    add_fused(fused, graph.SerializeToString())
    check_plain_with_warning(fused, plain_vectors(tiny_bundle), "Nosuch|embedge.*7")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
        ("raise OSError('no such CPU')", "OSError: no such CPU"),
        ("__version__ = '1'", "AttributeError: .*library_path"),
        (
            "__version__ = '1'\ndef library_path():\n    raise FileNotFoundError('no file')",
            "FileNotFoundError: no file",
        ),
    ],
)
def test_a_package_that_is_broken_is_a_warning(
    tmp_path: Path, fused: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, source: str, reason: str
) -> None:
    write_package(tmp_path / "site", source)
    install(monkeypatch, tmp_path / "site")
    check_plain_with_warning(fused, plain_vectors(tiny_bundle), reason)


@pytest.mark.usefixtures("nothing_installed")
def test_kernels_that_are_required_and_not_installed_are_an_error(fused: Path) -> None:
    with pytest.raises(
        MissingExtraError, match=r"^embedge-kernels is not installed; run `pip install 'embedge\[fast\]'`$"
    ):
        Embedder(fused, kernels=True)


def test_kernels_that_are_required_and_cannot_run_are_an_error(
    working: Path, fused: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputValueError, match="the kernels run int8, found fp32; pass precision='int8'"):
        Embedder(fused, precision="fp32", kernels=True)
    (fused / FUSED).unlink()
    stand_in = Path(__file__).parents[2] / "golden" / "format-1" / "release-0.1.0"  # from before there were kernels
    with pytest.raises(BundleError, match="has no fused graph for the kernels; run `embedge export .*--precision int8"):
        Embedder(stand_in, kernels=True)
    monkeypatch.setenv("EMBEDGE_KERNELS", "off")
    with pytest.raises(InputValueError, match="kernels=True does not agree with EMBEDGE_KERNELS=off"):
        Embedder(fused, kernels=True)


def test_kernels_run_on_the_cpu_only(working: Path, fused: Path) -> None:
    with pytest.raises(InputValueError, match=f"the kernels run on the CPU, found {CUDA}; pass device='cpu'"):
        kernels.find_kernels(Bundle.open(fused), precision="int8", provider=CUDA, required=True)


@pytest.mark.parametrize("value", ["no", "0", "OFF"])
def test_an_unknown_value_of_the_variable_is_an_error(
    working: Path, fused: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("EMBEDGE_KERNELS", value)
    with pytest.raises(InputValueError, match=f"EMBEDGE_KERNELS must be on or off, found '{value}'"):
        Embedder(fused)


def test_the_option_is_true_false_or_none(fused: Path) -> None:
    with pytest.raises(InputTypeError, match="kernels must be True or False, found 'off'"):
        Embedder(fused, kernels="off")  # type: ignore[arg-type]


@pytest.mark.parametrize("asked", [None, False, True])
def test_a_pickle_keeps_the_option(working: Path, fused: Path, asked: bool | None) -> None:
    model = Embedder(fused, kernels=asked)
    again = pickle.loads(pickle.dumps(model))
    assert again.__reduce__() == model.__reduce__()
    assert again.kernels == model.kernels == (None if asked is False else "scalar")
    np.testing.assert_array_equal(again.encode(TEXTS), model.encode(TEXTS))


# Forks with a loaded model; the child and the parent print the vectors' sum, and how often the library registered.
_FORK = """
import ctypes, os, sys
import numpy as np
from embedge import Embedder
model = Embedder(sys.argv[1], kernels=True)
expected = model.encode(["the cat", "a dog"])
count = ctypes.CDLL(sys.argv[2]).registrations
assert count() == 1
child = os.fork()
if not child:
    np.testing.assert_array_equal(model.encode(["the cat", "a dog"]), expected)
    assert count() == 2 and model.kernels == "scalar"
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_opens_its_session_with_the_library(working: Path, fused: Path) -> None:
    path = os.pathsep.join([str(working.parents[1]), *sys.path])
    command = [sys.executable, "-c", _FORK, str(fused), str(working)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("has_fused", [False, True])
def test_only_a_bundle_with_a_fused_graph_looks_for_the_library(has_fused: bool, fused: Path) -> None:
    """Looking costs time, which a cold start without kernels should not pay."""
    stand_in = Path(__file__).parents[2] / "golden" / "format-1" / "release-0.1.0"
    code = (
        "import sys; sys.modules['embedge_kernels'] = None; from embedge import Embedder; "
        f"Embedder({str(fused if has_fused else stand_in)!r}); print('embedge.inference.kernels' in sys.modules, "
        "'importlib.util' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == str(has_fused)


def test_the_error_of_a_library_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(KernelsError("embedge-kernels 1 cannot be used (why)")))
    assert str(error) == (
        "embedge-kernels 1 cannot be used (why); run `pip install -U embedge-kernels`, or pass kernels=False"
    )
