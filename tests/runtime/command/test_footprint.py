"""What a deployment ships: what is counted, and that what is said to be dispensable is."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from click.testing import Result

from commands import runner
from embedge import Bundle, Embedder, EmbedgeError
from embedge.command import installed_packages
from embedge.command.footprint import Footprint, Package, Size, measure
from embedge.command.footprint_table import table
from embedge.command.installed_packages import find_packages, installed_files
from embedge.command.main import cli
from embedge.inference.device import onnxruntime_packages
from embedge.ship.trim import IMPORTED, PACKAGES, find_trim, trim

TEXTS = ["the cat sat on the mat", "東京", "how do i bake bread ? " * 20]
# In a process that sees the standard library, the packages and nothing else.
EMBED = """
import json, sys
sys.path.append(sys.argv[1])
from embedge import Embedder
import numpy, onnxruntime, tokenizers
vectors = Embedder(sys.argv[2]).encode(json.loads(sys.argv[3]), on_truncate="ignore")
files = [module.__file__ for module in (numpy, onnxruntime, tokenizers)]
print(json.dumps({"vectors": vectors.tobytes().hex(), "files": files}))
"""
MakePackage = Callable[..., Path]


@pytest.fixture
def make_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakePackage:
    """Installs a package with requirements and a module of 100 bytes, and compiles it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(name: str, *requires: str, record: bool = True) -> Path:
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *(f"Requires-Dist: {r}" for r in requires)]
        (folder / "METADATA").write_text("\n".join(lines))
        for file, size in ((f"{name}.py", 100), (f"__pycache__/{name}.cpython-311.pyc", 1000)):
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_bytes(b"#" * size)
        if record:
            (folder / "RECORD").write_text(f"{name}.py,,\n__pycache__/{name}.cpython-311.pyc,,\ngone.py,,99\n")
        return tmp_path / f"{name}.py"

    return make


def test_requirements_are_followed_where_their_markers_hold(make_package: MakePackage) -> None:
    make_package("fp_root", "fp_b[fast]>=1", 'fp_old; python_version < "3"', 'fp_c; extra == "all"', "Fp.Gone")
    make_package("fp_b", 'fp_d; extra == "fast"', 'fp_c; extra == "slow"', 'fp_root; python_version > "3"')
    for name in ("fp_old", "fp_c", "fp_d"):
        make_package(name)
    found, missing = find_packages("fp-root")
    assert (set(found), missing) == ({"fp-root", "fp-b", "fp-d"}, ("fp-gone",))


def test_files_that_are_there_count_and_compiled_ones_do_not(make_package: MakePackage) -> None:
    module = make_package("fp_one")
    assert installed_files(distribution("fp_one")) == {"fp_one.py": module}


def test_a_package_without_a_record_is_an_error(make_package: MakePackage) -> None:
    make_package("fp_bare", record=False)
    with pytest.raises(EmbedgeError, match="pip install --force-reinstall fp_bare"):
        installed_files(distribution("fp_bare"))


def test_another_build_takes_the_place_of_onnxruntime(
    make_package: MakePackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime-gpu is in no requirement of embedge, and is most of what a machine with a card has to hold."""
    make_package("app", "onnxruntime")
    make_package("build", "plain")  # the fixture makes no names with hyphens
    make_package("plain")
    builds = (onnxruntime_packages.Package("build", "1.0", "pip"),)

    def without_onnxruntime(name: str) -> Distribution:
        if name == "onnxruntime":
            raise PackageNotFoundError(name)
        return distribution(name)

    monkeypatch.setattr(installed_packages, "installed_packages", lambda: builds)
    monkeypatch.setattr(installed_packages, "distribution", without_onnxruntime)
    found, missing = find_packages("app")
    assert (sorted(found), missing) == (["app", "build", "plain"], ())


def test_another_builds_dispensable_files_are_those_of_onnxruntime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are those of onnxruntime-gpu 1.31.1 for Linux, with other sizes."""
    sizes = {
        "onnxruntime/__init__.py": 1,
        "onnxruntime/capi/onnxruntime_pybind11_state.cpython-311-x86_64-linux-gnu.so": 2,
        "onnxruntime/capi/libonnxruntime.so.1.31.1": 40_000,
        "onnxruntime/capi/libonnxruntime_providers_cuda.so": 8,
        "onnxruntime/capi/libonnxruntime_providers_shared.so": 16,
        "onnxruntime/transformers/optimizer.py": 20_000,
        "onnxruntime/tools/add_openvino_win_libs.py": 32,
    }
    for name, size in sizes.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"#" * size)
    info = tmp_path / "onnxruntime_gpu-1.31.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.31.1\n")
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in sizes))

    def listed(name: str) -> Distribution:
        """What is installed here, but with this build instead of all others."""
        if name in onnxruntime_packages.NAMES:
            if name != "onnxruntime-gpu":
                raise PackageNotFoundError(name)
            return Distribution.at(info)
        return distribution(name)

    for module in (installed_packages, onnxruntime_packages):
        monkeypatch.setattr(module, "distribution", listed)
    footprint = measure()
    assert footprint.missing == ()
    (found,) = (package for package in footprint.packages if package.name.startswith("onnxruntime"))
    deletable = {"onnxruntime/capi/libonnxruntime.*": 40_000, "onnxruntime/transformers/*": 20_000}
    assert (found.name, found.deletable) == ("onnxruntime-gpu", deletable)
    assert found.size == Size(installed=60_059, trimmed=59, needed=59)
    assert "  0.04  onnxruntime/capi/libonnxruntime.* of onnxruntime-gpu: the C API's library, for " in table(footprint)


def test_the_runtime_is_counted_whole_and_without_extras() -> None:
    found = {package.name: package for package in measure().packages}
    assert set(found) >= {*IMPORTED, "huggingface-hub", "click", "tqdm", "platformdirs", "packaging"}
    assert set(found).isdisjoint({"onnx", "torch", "transformers", "pytest"})
    folder = Path(onnxruntime.__file__).parent
    files = [file for file in folder.rglob("*") if file.is_file() and file.suffix != ".pyc"]
    recorded = installed_files(distribution("onnxruntime"))
    assert {file for name, file in recorded.items() if name.startswith("onnxruntime/")} == set(files)
    assert found["onnxruntime"].size.installed == sum(file.stat().st_size for file in recorded.values())
    assert found["embedge"].size.needed > 50_000  # an editable install, too


@pytest.mark.parametrize(
    ("package", "file", "trimmed"),
    [
        ("onnxruntime", "onnxruntime/capi/libonnxruntime.so.1.32.0", True),
        ("onnxruntime", "onnxruntime/capi/libonnxruntime.1.32.0.dylib", True),
        ("onnxruntime", "onnxruntime/capi/libonnxruntime_providers_shared.so", False),
        ("onnxruntime", "onnxruntime/capi/onnxruntime_pybind11_state.pyd", False),
        ("onnxruntime", "onnxruntime/ThirdPartyNotices.txt", False),
        ("onnxruntime", "onnxruntime-1.32.0.dist-info/METADATA", False),
        ("numpy", "numpy/tests/test_lazyloading.py", True),
        ("numpy", "numpy/testing/__init__.py", False),
        ("huggingface-hub", "huggingface_hub/quantization/x.py", False),
    ],
)
def test_what_is_trimmed(package: str, file: str, trimmed: bool) -> None:
    assert (find_trim(package, file) is not None) == trimmed


def copy_needed(packages: Path, bundle: Path, of: Bundle) -> None:
    """The packages that are imported, as pip installed them, and the files of the bundle that are read."""
    for name in IMPORTED:
        for file, path in installed_files(distribution(name)).items():
            if not file.startswith(".."):  # scripts
                (packages / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, packages / file)
    (found,) = measure(str(of.path)).bundles
    for file, size in found.files.items():
        if size.needed:
            (bundle / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(of.path / file, bundle / file)


def test_a_trimmed_copy_embeds_the_same(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Without the packages that are not imported, the files that may be deleted and those that are not read."""
    packages, bundle = tmp_path / "package", tmp_path / "bundle"
    copy_needed(packages, bundle, tiny_bundle)
    before = {file.relative_to(packages).as_posix() for file in packages.rglob("*") if file.is_file()}
    trim(packages, whole_numpy=True)
    left = {file.relative_to(packages).as_posix() for file in packages.rglob("*") if file.is_file()}
    deleted = {file for file in before - left if ".dist-info/" not in file}
    assert deleted == {file for file in before if any(find_trim(name, file) for name in PACKAGES)}
    command = [sys.executable, "-I", "-S", "-c", EMBED, str(packages), str(bundle), json.dumps(TEXTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert all(Path(file).is_relative_to(packages) for file in found["files"])
    expected = Embedder(tiny_bundle.path).encode(TEXTS, on_truncate="ignore")
    vectors = np.frombuffer(bytes.fromhex(found["vectors"]), np.float32).reshape(expected.shape)
    np.testing.assert_array_equal(vectors, expected)


def test_a_bundle_needs_its_manifest_tokenizer_and_one_graph(tiny_bundle: Bundle) -> None:
    (found,) = measure(str(tiny_bundle.path)).bundles
    assert {file for file, size in found.files.items() if size.needed} == {
        "embedge.json",
        "tokenizer.json",
        "onnx/model_int8.onnx",
        "onnx/model_int8.onnx_data",
    }
    on_disk = sum(file.stat().st_size for file in tiny_bundle.path.rglob("*") if file.is_file())
    assert Size.sum(found.files.values()).installed == on_disk


def info(*arguments: str) -> Result:
    return runner().invoke(cli, ["info", *arguments])


def test_the_table_and_the_json_say_the_same(tiny_bundle: Bundle) -> None:
    data = json.loads(info("--footprint", "-m", str(tiny_bundle.path), "--json").stdout)
    size = {name: sum(package["size"][name] for package in data["packages"]) for name in ("installed", "trimmed")}
    assert size["trimmed"] < size["installed"] == data["totals"]["packages"]["installed"]
    shown = info("--footprint", "-m", str(tiny_bundle.path)).stdout
    assert f"{size['installed'] / 1e6:.2f}" in shown
    for package in data["packages"]:
        assert f"{package['name']} {package['version']} " in shown
        assert package["size"]["trimmed"] == package["size"]["installed"] - sum(package["deletable"].values())
        assert all(pattern in shown for pattern in package["deletable"])


def test_cached_bundles_are_counted_without_a_name(tiny_bundle: Bundle, tmp_path: Path) -> None:
    shutil.copytree(tiny_bundle.path, tmp_path / "home" / "bundles" / "tiny")
    assert [bundle.path for bundle in measure().bundles] == [str(tmp_path / "home" / "bundles" / "tiny")]
    assert measure("tiny").bundles == measure().bundles


def test_a_package_that_is_not_installed_is_said() -> None:
    size = Size(installed=2_000_000, trimmed=1_000_000, needed=0)
    package = Package(name="numpy", version="2.0", size=size, deletable={"numpy/f2py/*": 1_000_000})
    shown = table(Footprint(packages=(package,), missing=("onnxruntime",), bundles=()))
    assert "not installed: onnxruntime" in shown
    assert shown.splitlines()[1].split() == ["numpy", "2.0", "2.00", "1.00", "-"]


def test_failures_are_told() -> None:
    assert "no bundle of 'nosuch'" in info("--footprint", "-m", "nosuch").stderr
    assert info("-m", "x").exit_code == info("--json").exit_code == 2
