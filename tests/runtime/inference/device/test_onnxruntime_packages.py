"""Packages that share onnxruntime's files: which are found, and that the commands which errors print mend them.

The commands run for real, with pip and uv, on small wheels that have the names and the common files of the real ones.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from embedge import ProviderError
from embedge.inference.device import onnxruntime_packages
from embedge.inference.device.onnxruntime_packages import (
    Package,
    available_providers,
    install_cuda,
    installed_packages,
    provider_remedy,
    several,
)
from embedge.inference.providers import CUDA

RUNTIME = Path(onnxruntime_packages.__file__).parents[3]
PROVIDERS = {
    "onnxruntime": "CPUExecutionProvider",
    "onnxruntime-gpu": CUDA,
    "onnxruntime-openvino": "OpenVINOExecutionProvider",
}
STATE = """
import json
from embedge.errors import EmbedgeError
from embedge.inference.device.onnxruntime_packages import available_providers, provider_remedy
try:
    found = available_providers()
except EmbedgeError as error:
    found = str(error)
print(json.dumps([found, provider_remedy("CUDAExecutionProvider"), provider_remedy("OpenVINOExecutionProvider")]))
"""
Install = Callable[..., None]


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes the metadata of packages, the only ones that are installed then."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    monkeypatch.setattr(sys, "platform", "linux")

    def make(
        name: str, version: str = "1.31.1", *, installer: str = "pip\n", files: str | None = "onnxruntime/__init__.py"
    ) -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (folder / "INSTALLER").write_text(installer)
        if files:
            (folder / "RECORD").write_text(f"{files},sha256=x,1\n")

    return make


def test_the_installed_package_is_found() -> None:
    """This environment's own, whichever build it is; there is only one."""
    import onnxruntime

    (package,) = installed_packages()
    assert package.version == onnxruntime.__version__
    assert several((package,)) is None
    assert available_providers() == onnxruntime.get_available_providers()


def test_packages_are_found_by_the_file_that_they_share(pretend: Install) -> None:
    pretend("onnxruntime-gpu", installer="uv")
    pretend("onnxruntime", "1.32.0")
    pretend("onnxruntime-openvino", files=None)  # without a record, its name decides
    pretend("onnxruntime-qnn", files="onnxruntime_qnn/__init__.py")  # a provider for another build
    pretend("onnxruntime-extensions", files="onnxruntime_extensions/__init__.py")
    assert installed_packages() == (
        Package("onnxruntime", "1.32.0", "pip"),
        Package("onnxruntime-gpu", "1.31.1", "uv"),
        Package("onnxruntime-openvino", "1.31.1", "pip"),
    )


def test_the_plain_build_makes_way(pretend: Install) -> None:
    pretend("onnxruntime")
    assert (
        provider_remedy(CUDA) == 'run `pip uninstall -y onnxruntime`, then `pip install "onnxruntime-gpu[cuda,cudnn]"`'
    )
    assert provider_remedy("DmlExecutionProvider") == (
        "run `pip uninstall -y onnxruntime`, then `pip install onnxruntime-directml`"
    )


def test_uv_is_named_where_uv_installed(pretend: Install) -> None:
    pretend("onnxruntime", installer="uv")
    assert (
        provider_remedy(CUDA)
        == 'run `uv pip uninstall onnxruntime`, then `uv pip install "onnxruntime-gpu[cuda,cudnn]"`'
    )


def test_a_project_of_uv_excludes_the_plain_build(pretend: Install, tmp_path: Path) -> None:
    """Otherwise the next `uv run` would install it again."""
    pretend("onnxruntime", installer="uv")
    (tmp_path / "uv.lock").write_text("")
    assert provider_remedy(CUDA) == (
        'write exclude-dependencies = ["onnxruntime"] below [tool.uv] in pyproject.toml, then run '
        '`uv add --no-sync "onnxruntime-gpu[cuda,cudnn]"`, then `uv sync --reinstall-package onnxruntime-gpu`'
    )


def test_two_packages_are_named_with_their_versions(pretend: Install) -> None:
    pretend("onnxruntime", "1.32.0")
    pretend("onnxruntime-gpu")
    fact = "onnxruntime 1.32.0 and onnxruntime-gpu 1.31.1 share their files, and the one installed last"
    assert provider_remedy(CUDA).startswith(fact)
    line = several(installed_packages())
    assert line is not None
    assert line.startswith(fact)
    assert "to keep onnxruntime-gpu, run `pip uninstall -y onnxruntime onnxruntime-gpu`, then" in line


def test_of_two_packages_without_cuda_the_plain_build_goes(pretend: Install) -> None:
    pretend("onnxruntime")
    pretend("onnxruntime-openvino")
    assert "then `pip install onnxruntime-openvino`" in (several(installed_packages()) or "")


def test_the_right_package_without_its_files_is_said(pretend: Install) -> None:
    pretend("onnxruntime-gpu")
    assert provider_remedy(CUDA).startswith(
        "onnxruntime-gpu 1.31.1 is installed, but another package has overwritten its"
    )


def test_a_build_without_metadata_is_said(pretend: Install) -> None:
    assert installed_packages() == ()
    assert provider_remedy(CUDA) == (
        "no installed package provides it, as after a build from source: build it with this provider, or "
        'run `pip install "onnxruntime-gpu[cuda,cudnn]"`'
    )


def test_no_command_is_given_where_there_is_none(pretend: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend("onnxruntime")
    assert provider_remedy("CoreMLExecutionProvider") == "use one of these"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert provider_remedy(CUDA) == "macOS has no CUDA, use one of these"


def test_the_page_for_gpus_has_the_same_commands(pretend: Install) -> None:
    page = (Path(__file__).parents[4] / "docs" / "gpu.md").read_text(encoding="utf-8")
    pretend("onnxruntime")
    pretend("onnxruntime-gpu")
    for command in re.findall("`(.+?)`", provider_remedy(CUDA)):
        assert f"\n{command}\n" in page
    assert install_cuda("<1.27") in page


def test_an_empty_onnxruntime_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left after one of two packages was uninstalled: a folder, which Python takes for a namespace."""
    (tmp_path / "onnxruntime" / "capi").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "onnxruntime")
    monkeypatch.delitem(sys.modules, "embedge.inference.onnxruntime_import", raising=False)
    with pytest.raises(ProviderError, match=r"folder without its modules.*run `pip install onnxruntime`"):
        available_providers()


def write_wheel(folder: Path, name: str, provider: str) -> None:
    module = f"def get_available_providers():\n    return [{provider!r}]\n"
    info = f"{name.replace('-', '_')}-1.31.1.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.31.1\nProvides-Extra: cuda\nProvides-Extra: cudnn\n"
    files = {
        "onnxruntime/__init__.py": module,
        f"onnxruntime/capi/{name}.so": "",  # a file that no other has, so that the folder stays
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-1.31.1-py3-none-any.whl", "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)


class Environment:
    """A virtual environment that sees three small wheels and embedge's source."""

    def __init__(self, folder: Path, tool: str) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True, timeout=60)
        for name, provider in PROVIDERS.items():
            write_wheel(folder, name, provider)
        self._tool, self._folder = tool, folder
        self._python = str(folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))

    def change(self, step: str) -> None:
        """Install a package, or uninstall one: ``+NAME`` or ``-NAME``."""
        verb = "install" if step[0] == "+" else "uninstall"
        self.run(f"{'uv pip' if self._tool == 'uv' else 'pip'} {verb}{' -y' * (step[0] == '-')} {step[1:]}")

    def run(self, command: str) -> None:
        """Run a line such as ``pip install X`` as it stands, but for where packages come from and go to."""
        program, *words = shlex.split(command)
        if program == "pip":
            words = [sys.executable, "-m", "pip", "--python", self._python, *words]
        else:
            assert words[0] == "pip"
            words = ["uv", *words, "--python", self._python, "--offline"]
        words += ["--no-index", "--find-links", str(self._folder)] if "install" in words else []
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))}
        environment["UV_CACHE_DIR"] = str(self._folder / "cache")
        subprocess.run(words, check=True, timeout=60, env=environment, capture_output=True)

    def state(self) -> tuple[list[str] | str, str, str]:
        """The providers or the error, and the remedies for CUDA and for OpenVINO."""
        done = subprocess.run(
            [self._python, "-c", STATE],
            env={**os.environ, "PYTHONPATH": str(RUNTIME)},
            capture_output=True,
            check=True,
            timeout=60,
        )
        found, cuda, openvino = json.loads(done.stdout)
        return found, cuda, openvino


@pytest.fixture(params=["pip", "uv"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> Environment:
    if request.param == "pip":
        pytest.importorskip("pip")
    elif shutil.which("uv") is None:
        pytest.skip("uv is not installed")
    return Environment(tmp_path, request.param)


@pytest.mark.parametrize(
    ("steps", "before", "wanted"),
    [
        (["+onnxruntime"], ["CPUExecutionProvider"], "onnxruntime-openvino"),
        (["+onnxruntime-gpu", "+onnxruntime"], ["CPUExecutionProvider"], "onnxruntime-gpu"),
        (["+onnxruntime", "+onnxruntime-gpu", "-onnxruntime"], "onnxruntime is a folder", "onnxruntime-gpu"),
        (["+onnxruntime", "-onnxruntime"], "onnxruntime is not installed", "onnxruntime-gpu"),
    ],
    ids=["plain", "overwritten", "files gone", "uninstalled"],
)
def test_the_printed_commands_mend_it(
    environment: Environment, steps: list[str], before: list[str] | str, wanted: str
) -> None:
    for step in steps:
        environment.change(step)
    found, *remedies = environment.state()
    assert found == before if isinstance(before, list) else str(found).startswith(before)
    commands = re.findall("`(.+?)`", remedies[wanted == "onnxruntime-openvino"])
    assert len(commands) == (1 if "not installed" in str(before) else 2)
    for command in commands:
        environment.run(command)
    assert environment.state()[0] == [PROVIDERS[wanted]]
