"""Outputs of the real wheels: they embed as this installation does, alone with a Python that sees nothing else."""

import json
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import cache_from_source, find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedge import Bundle, Embedder, Reranker, max_similarity
from embedge.ship.assemble import Target, ship
from embedge.ship.bytecode import find_python
from embedge.ship.places import PLACES
from embedge.ship.platforms import PLATFORMS, this_platform, this_python
from embedge.ship.wheels import pick_requirements

TEXTS = ["the cat sat on the mat", "東京", "how do i bake bread ? " * 20]
EMBED = """
import json, sys
from embedge import Embedder
import numpy, onnxruntime, tokenizers
vectors = Embedder(sys.argv[1]).encode(json.loads(sys.argv[2]), on_truncate="ignore")
files = [module.__file__ for module in (numpy, onnxruntime, tokenizers)]
print(json.dumps({"vectors": vectors.tobytes().hex(), "files": files}))
"""
HANDLE = """
import json, sys
from lambda_function import lambda_handler
print(json.dumps(lambda_handler({"texts": json.loads(sys.argv[2])}, None)))
"""
HANDLE_RERANKER = """
import json, sys
from lambda_function import lambda_handler
query, *documents = json.loads(sys.argv[2])
requests = {"pairs": [[query, document] for document in documents]}, {"query": query, "documents": documents}
print(json.dumps([lambda_handler(request, None) for request in requests]))
"""
# With every function that a bge-m3 has; the folder of a Lambda function has only a part of numpy.
EMBED_M3 = """
import json, sys
from lambda_function import lambda_handler
from embedge import Embedder, max_similarity
texts = json.loads(sys.argv[2])
model = Embedder(sys.argv[1])
sparse, multi = (encode(texts, on_truncate="ignore") for encode in (model.encode_sparse, model.encode_multi_vector))
dense = lambda_handler({"query": texts, "on_truncate": "ignore"}, None)["vectors"]
print(json.dumps({
    "dense": dense,
    "sparse": [{str(key): value for key, value in vector.as_dict().items()} for vector in sparse],
    "multi": [vectors.tolist() for vectors in multi],
    "scores": [sparse[0].dot(sparse[2]), max_similarity(multi[0], multi[2])],
}))
"""
TARGET = Target(place="folder", platform="linux-x86_64", python=this_python())
ELF_MACHINES = {"linux-x86_64": 62, "linux-aarch64": 183}  # EM_X86_64 and EM_AARCH64


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], None]:
    """Skips the test where pip does not find the wheels of a platform and a Python."""
    pytest.importorskip("pip", reason="needs pip, which the extra `demo` installs")

    def need(platform: str, python: str) -> None:
        where = [f"--target={tmp_path_factory.mktemp('dry')}", f"--python-version={python}"]
        tags = [f"--platform={tag}" for tag in PLATFORMS[platform].tags]
        options = ["--dry-run", "--quiet", "--no-deps", "--only-binary=:all:", *where, *tags]
        command = [sys.executable, "-m", "pip", "install", *options, *pick_requirements(newest=False)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip(f"needs an index with the installed versions' wheels for {platform} and Python {python}")

    return need


def snapshot(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def run_alone(python: str, code: str, root: Path, packages: Path) -> Any:
    """Run code in a Python without site-packages, from a folder that is read-only to other users than root."""
    command = find_python(python)
    assert command
    for path in (root, *root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = snapshot(root)
    environment = {"PYTHONPATH": str(packages), "LAMBDA_TASK_ROOT": str(root)}
    environment |= {"SYSTEMROOT": os.environ["SYSTEMROOT"]} if os.name == "nt" else {}
    arguments = [*command, "-S", "-c", code, str(root / "bundle"), json.dumps(TEXTS)]
    done = subprocess.run(arguments, env=environment, cwd=root.parent, capture_output=True, text=True, check=False)
    for path in (root, *root.rglob("*")):
        path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in snapshot(root).keys() ^ before.keys()} == set()
    return json.loads(done.stdout)


def check_bytecode(packages: Path, python: str) -> None:
    """Every module has it, and it holds whatever the times of the sources are: PEP 552's flags are 0b01."""
    here, tag = sys.implementation.cache_tag, f"cpython-{python.replace('.', '')}"
    for file in [file for file in packages.rglob("*.py") if file.stat().st_size]:
        compiled = Path(cache_from_source(str(file)).replace(str(here), tag))
        assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 0b01, file


@pytest.mark.parametrize(("place", "python"), [("folder", "3.11"), ("layer", "3.12"), ("lambda", "3.13")])
def test_an_output_embeds_the_same_and_writes_nothing(
    tiny_bundle: Bundle, tmp_path: Path, index: Callable[[str, str], None], place: str, python: str
) -> None:
    if find_python(python) is None:
        pytest.skip(f"needs Python {python}")
    target = replace(TARGET, place=place, platform=this_platform(), python=python)  # type: ignore[arg-type]
    index(target.platform, python)
    shipped = ship(tiny_bundle, tmp_path / "out.zip", target)
    root = tmp_path / "out"
    with zipfile.ZipFile(shipped.path) as archive:
        archive.extractall(root)
    packages = root / PLACES[target.place].packages
    check_bytecode(packages, python)
    found = run_alone(python, EMBED, root, packages)
    assert all(Path(file).is_relative_to(packages) for file in found["files"])
    expected = Embedder(tiny_bundle.path).encode(TEXTS, on_truncate="ignore")
    vectors = np.frombuffer(bytes.fromhex(found["vectors"]), np.float32).reshape(expected.shape)
    np.testing.assert_array_equal(vectors, expected)
    if place == "lambda" and find_spec("embedge.serverless"):
        answer = run_alone(python, HANDLE, root, packages)
        np.testing.assert_allclose(np.array(answer["vectors"]), expected, atol=1e-6)


@pytest.fixture(scope="module")
def ship_seeded(
    export: Callable[..., Bundle],
    index: Callable[[str, str], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Path]:
    """Exports a seeded checkpoint in the layout of a bge reranker or of bge-m3, and ships it as a Lambda function."""

    def ship_one(*, rerank: bool) -> Path:
        from seeded_roberta import write_roberta

        if find_python("3.13") is None:
            pytest.skip("needs Python 3.13")
        index(this_platform(), "3.13")
        folder = tmp_path_factory.mktemp("seeded")
        bundle = export(write_roberta(folder / "checkpoint", rerank=rerank), folder / "bundle", verify=False)
        return ship(
            bundle, folder / "out", replace(TARGET, place="lambda", platform=this_platform(), python="3.13")
        ).path

    return ship_one


def test_a_rerankers_function_scores_the_same(ship_seeded: Callable[..., Path]) -> None:
    root = ship_seeded(rerank=True)
    scored, ranked = run_alone("3.13", HANDLE_RERANKER, root, root)
    model = Reranker(root / "bundle")
    pairs = [(TEXTS[0], document) for document in TEXTS[1:]]
    scores = model.score(pairs)
    assert len(set(scores.tolist())) == len(pairs)
    np.testing.assert_array_equal(np.array(scored["scores"], np.float32), scores)
    expected = model.rank(TEXTS[0], TEXTS[1:])
    assert [(one["index"], float(np.float32(one["score"]))) for one in ranked["results"]] == expected


def test_all_vectors_of_an_m3_are_the_same_in_a_function(ship_seeded: Callable[..., Path]) -> None:
    pytest.importorskip("torch", reason="needs torch, which writes the heads of bge-m3")
    root = ship_seeded(rerank=False)
    found = run_alone("3.13", EMBED_M3, root, root)
    model = Embedder(root / "bundle")
    np.testing.assert_array_equal(np.array(found["dense"], np.float32), model.encode_query(TEXTS))
    sparse, multi = model.encode_sparse(TEXTS), model.encode_multi_vector(TEXTS)
    assert all(len(vector) for vector in sparse[::2])
    assert found["sparse"] == [{str(key): value for key, value in vector.as_dict().items()} for vector in sparse]
    for rows, vectors in zip(found["multi"], multi, strict=True):
        np.testing.assert_array_equal(np.array(rows, np.float32), vectors)
    # numpy multiplies the matrices of max_similarity in another order where it has another number of threads.
    scores = [sparse[0].dot(sparse[2]), max_similarity(multi[0], multi[2])]
    np.testing.assert_allclose(found["scores"], scores, atol=1e-6)


def libraries(folder: Path) -> Iterator[bytes]:
    return (path.read_bytes() for path in folder.rglob("*.so*") if path.is_file())


@pytest.mark.parametrize("platform", ["linux-x86_64", "linux-aarch64"])
def test_the_libraries_are_those_of_the_platform(
    tiny_bundle: Bundle, tmp_path: Path, index: Callable[[str, str], None], platform: str
) -> None:
    index(platform, "3.13")
    shipped = ship(tiny_bundle, tmp_path / "out", replace(TARGET, place="lambda", platform=platform, python="3.13"))
    machines = [struct.unpack_from("<H", library, 18)[0] for library in libraries(shipped.path)]
    assert len(machines) > 5
    assert set(machines) == {ELF_MACHINES[platform]}
    wheels = [line for file in shipped.path.glob("*.dist-info/WHEEL") for line in file.read_text().splitlines()]
    tags = [line.removeprefix("Tag: ") for line in wheels if line.startswith("Tag: ")]
    assert len(tags) >= 3
    assert all(tag.endswith(platform.removeprefix("linux")[1:]) for tag in tags)
    assert not list(shipped.path.rglob("libonnxruntime.so*"))
    licences = [path for path in shipped.path.rglob("*") if path.name.upper().startswith(("LICENSE", "THIRDPARTY"))]
    assert len(licences) > 5
