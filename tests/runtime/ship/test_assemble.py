"""ship(): what an output holds, that it appears whole or not at all, and what it replaces."""

import errno
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embedge import Bundle, EmbedgeError, InputValueError, PrecisionNotFoundError
from embedge.ship import assemble
from embedge.ship.assemble import Target, ship
from embedge.ship.places import PLACES, PlaceName
from embedge.ship.record import RECORD

pytestmark = pytest.mark.usefixtures("fake_wheels")
TARGET = Target(place="folder", platform="linux-aarch64", python="3.13", newest=True, bytecode=False)
FUNCTION = replace(TARGET, place="lambda")


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def packed(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return set(archive.namelist())


def test_a_folder_has_packages_and_one_precision(tiny_bundle: Bundle, tmp_path: Path) -> None:
    shipped = ship(tiny_bundle, tmp_path / "out", TARGET)
    found = files(tmp_path / "out")
    assert {"numpy/__init__.py", "numpy/random/x.py", "onnxruntime/capi/pybind.so", "embedge/embedder.py"} <= found
    assert {"bundle/embedge.json", "bundle/onnx/model_int8.onnx", RECORD} <= found
    assert found.isdisjoint({"bundle/onnx/model.onnx", "onnxruntime/capi/libonnxruntime.so.1.32.0", "numpy/f2py/x.py"})
    assert not [name for name in found if name.startswith(("bin/", "embedge/command", "embedge/ship"))]
    Bundle.open(tmp_path / "out" / "bundle").check()
    assert shipped.record.precision == "int8"
    assert shipped.record.packages["numpy"] == "99.0"


def test_every_licence_stays(tiny_bundle: Bundle, tmp_path: Path) -> None:
    ship(tiny_bundle, tmp_path / "out", FUNCTION)
    found = files(tmp_path / "out")
    licences = {f"{name}-99.0.dist-info/licenses/LICENSE" for name in ("numpy", "onnxruntime", "tokenizers")}
    assert licences | {"onnxruntime/LICENSE", "numpy/random/LICENSE.md"} <= found
    assert "numpy/random/x.py" not in found


def test_a_function_has_the_handler_that_lambda_looks_for(tiny_bundle: Bundle, tmp_path: Path) -> None:
    ship(tiny_bundle, tmp_path / "out.zip", FUNCTION)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        handler = archive.read("lambda_function.py").decode()
    names: dict[str, Any] = {}
    module = type("module", (), {"lambda_handler": "the handler"})
    exec(handler, {"__builtins__": {"__import__": lambda name, *rest: {"embedge.serverless": module}[name]}}, names)
    assert names == {"lambda_handler": "the handler"}


def test_a_layer_has_its_packages_where_lambda_looks(tiny_bundle: Bundle, tmp_path: Path) -> None:
    ship(tiny_bundle, tmp_path / "out.zip", replace(TARGET, place="layer"))
    tops = {name.split("/")[0] for name in packed(tmp_path / "out.zip")}
    assert tops == {"python", "bundle", RECORD}


def test_two_halves_are_one_output(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """A layer is unpacked to /opt, of which Lambda puts python/ on the path; the function has the bundle."""
    ship(tiny_bundle, tmp_path / "both", FUNCTION)
    ship(tiny_bundle, tmp_path / "layer", replace(TARGET, place="layer", only="packages"))
    ship(tiny_bundle, tmp_path / "function", replace(FUNCTION, only="bundle"))
    layer, function = files(tmp_path / "layer"), files(tmp_path / "function")
    assert {name.removeprefix("python/") for name in layer} | function == files(tmp_path / "both")
    assert function >= {"lambda_function.py", "bundle/embedge.json"}
    assert not [name for name in function if name.startswith(("numpy", "embedge/"))]
    assert not [name for name in layer if "bundle/embedge.json" in name]


def test_a_container_copies_what_is_there(tiny_bundle: Bundle, tmp_path: Path) -> None:
    ship(tiny_bundle, tmp_path / "out", replace(TARGET, place="container"))
    lines = (tmp_path / "out" / "Dockerfile").read_text().splitlines()
    assert "FROM --platform=linux/arm64 public.ecr.aws/lambda/python:3.13" in lines
    copied = {line.split()[1] for line in lines if line.startswith("COPY")}
    assert copied == {"package/", "bundle/"}
    assert {"package/lambda_function.py", "package/numpy/__init__.py", "bundle/embedge.json"} <= files(tmp_path / "out")


def test_the_same_files_give_the_same_zip(tiny_bundle: Bundle, tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        ship(tiny_bundle, tmp_path / name, FUNCTION)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_the_sizes_are_those_on_disk(tiny_bundle: Bundle, tmp_path: Path) -> None:
    shipped = ship(tiny_bundle, tmp_path / "out.zip", FUNCTION)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    on_disk = sum(path.stat().st_size for path in (tmp_path / "unpacked").rglob("*") if path.is_file())
    assert sum(part.unpacked for part in shipped.parts.values()) == on_disk
    end_of_directory = 22  # bytes; the ZIP format's last record
    zipped = sum(part.zipped for part in shipped.parts.values())
    assert zipped + end_of_directory == (tmp_path / "out.zip").stat().st_size


@pytest.mark.parametrize("place", ["layer", "container"])
def test_an_own_module_beside_the_packages_is_kept(tiny_bundle: Bundle, tmp_path: Path, place: PlaceName) -> None:
    target = replace(TARGET, place=place)
    ship(tiny_bundle, tmp_path / "out", target)
    ship(tiny_bundle, tmp_path / "out", target)
    own = tmp_path / "out" / PLACES[place].packages / "app.py"
    own.write_text("mine")
    with pytest.raises(EmbedgeError, match=r"/app.py, which `embedge ship` did not put there"):
        ship(tiny_bundle, tmp_path / "out", target)
    assert own.read_text() == "mine"


@pytest.mark.parametrize("output", [".", "", "/", ".."])
def test_an_output_without_a_name_of_its_own_is_refused(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = list(tmp_path.iterdir())
    with pytest.raises(InputValueError, match="an output needs a name of its own, found -o .*; pass a name"):
        ship(tiny_bundle, Path(output), TARGET)
    assert list(tmp_path.iterdir()) == before


def test_an_output_in_the_bundle_is_refused_before_anything_is_done(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assemble, "unpack_wheels", None)
    (tmp_path / "link").symlink_to(tiny_bundle.path)
    for folder in (tiny_bundle.path, tmp_path / "link"):
        with pytest.raises(InputValueError, match="would be in the bundle; pass another -o"):
            ship(tiny_bundle, folder / "deep" / "out.zip", TARGET)
    assert not (tiny_bundle.path / "deep").exists()


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_an_earlier_output_is_replaced(tiny_bundle: Bundle, tmp_path: Path, name: str) -> None:
    output = tmp_path / name
    list_files: Callable[[Path], set[str]] = packed if name.endswith("zip") else files
    ship(tiny_bundle, output, replace(FUNCTION, whole_numpy=True))
    assert "numpy/random/x.py" in list_files(output)
    ship(tiny_bundle, output, FUNCTION)
    assert "numpy/random/x.py" not in list_files(output)


@pytest.mark.parametrize("name", ["out", "out.zip"])
def test_what_fails_leaves_everything_as_it_was(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    ship(tiny_bundle, tmp_path / name, FUNCTION)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(assemble, "copy_embedge", full)
    with pytest.raises(EmbedgeError, match=f"{name} cannot be written .No space left on device.; make room there"):
        ship(tiny_bundle, tmp_path / name, FUNCTION)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_output_above_the_limit_is_an_error_and_not_written(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedge.ship.sizes.MOST_UNPACKED", 1000)
    for name in ("out", "out.zip"):
        with pytest.raises(EmbedgeError, match="of at most 1,000 bytes; use --container"):
            ship(tiny_bundle, tmp_path / name, FUNCTION)
        assert not (tmp_path / name).exists()
    ship(tiny_bundle, tmp_path / "out", TARGET)


@pytest.mark.parametrize(
    ("target", "output", "message"),
    [
        (replace(FUNCTION, platform="macos-arm64"), "out", "runs Linux, not macos-arm64; pass --platform linux-x86_64"),
        (replace(FUNCTION, python="3.11"), "out", "whose glibc is too old .2.26.; pass --python 3.12"),
        (replace(TARGET, only="bundle"), "out", "found --only bundle for a folder; give --lambda or --layer"),
        (replace(TARGET, place="container"), "out.zip", "an image is built from a folder"),
    ],
)
def test_what_a_place_does_not_run_is_an_error(
    tiny_bundle: Bundle, tmp_path: Path, target: Target, output: str, message: str
) -> None:
    with pytest.raises(InputValueError, match=message):
        ship(tiny_bundle, tmp_path / output, target)


def test_a_precision_that_the_bundle_lacks_is_an_error(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(PrecisionNotFoundError, match="fp16"):
        ship(tiny_bundle, tmp_path / "out", replace(TARGET, precision="fp16"))


def test_the_record_says_what_is_in_the_output(tiny_bundle: Bundle, tmp_path: Path) -> None:
    ship(tiny_bundle, tmp_path / "out", replace(FUNCTION, precision="fp32"))
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    assert (record["place"], record["platform"], record["python"]) == ("lambda", "linux-aarch64", "3.13")
    assert (record["precision"], record["bytecode"]) == ("fp32", False)
    assert {"numpy", "onnxruntime", "tokenizers", "embedge"} == set(record["packages"])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {RECORD, *record["entries"]}
