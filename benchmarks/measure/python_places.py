"""Places that run Python: a laptop, AWS Lambda, a container, Google Cloud."""

import os
import platform
import shutil
import sys
import sysconfig
import zipfile
from importlib.util import find_spec
from pathlib import Path

from benchmarks.footprint import ROWS, Installed, InstallError, Row, install
from benchmarks.measure.place import CannotRunError, Place, Prepare, plain_environment, size_of
from benchmarks.measure.process_start import ANSWERED, QUERY, time_lambda, time_program, time_server
from embedge import Bundle
from embedge.errors import EmbedgeError
from embedge.ship.assemble import Shipped, Target
from embedge.ship.assemble import ship as ship_bundle
from embedge.ship.places import PlaceName
from embedge.ship.platforms import this_python

EXAMPLES = Path(__file__).parents[2] / "examples"
PLAIN = f"import sys; from embedge import Embedder; Embedder(sys.argv[1]).encode_query({QUERY['query']!r}); {ANSWERED}"
_EMBEDGE = next(row for row in ROWS if row.name == "embedge")
_GOOGLE = Row(
    name="Google Cloud",
    requirements=("embedge", "functions-framework"),
    imports=("embedge.embedder", "functions_framework"),
)


def laptop(bundle: Path, work: Path) -> Place:
    """`pip install embedge` in a new environment, and a script."""
    installed, python = _install(_EMBEDGE, work)
    command = [str(python), "-c", PLAIN, str(bundle)]
    return Place(
        sizes={"with all dependencies, without Python": installed.size + size_of(bundle)},
        start=lambda: time_program(command, plain_environment(work))[0],
    )


def aws_lambda(processor: str) -> Prepare:
    """A ZIP file by `embedge ship --lambda` for ``x86_64`` or ``aarch64``, started as AWS's runtime does."""

    def prepare(bundle: Path, work: Path) -> Place:
        shipped = ship(bundle, work / "function.zip", "lambda", f"linux-{processor}")
        unpacked = sum(part.unpacked for part in shipped.parts.values())
        sizes = {"zipped": size_of(shipped.path), "unpacked": unpacked}
        if platform.machine() != processor:
            return Place(sizes=sizes, notes=(f"not started: this machine's processor is {platform.machine()}",))
        if find_spec("awslambdaric") is None:
            return Place(sizes=sizes, notes=("not started: needs awslambdaric: pip install awslambdaric",))
        task = work / "task"
        with zipfile.ZipFile(shipped.path) as archive:
            archive.extractall(task)
        # Without `site`, so that a checkout of embedge or the like takes no time; the runtime is in site-packages.
        paths = f"{task}{os.pathsep}{sysconfig.get_path('purelib')}"
        environment = plain_environment(work, LAMBDA_TASK_ROOT=str(task), PYTHONPATH=paths)
        command = [sys.executable, "-S", "-m", "awslambdaric", "lambda_function.lambda_handler"]
        return Place(sizes=sizes, start=lambda: time_lambda(command, environment))

    return prepare


def container(bundle: Path, work: Path) -> Place:
    """The files that `embedge ship --container` adds to a base image, and embedge's own server."""
    shipped = ship(bundle, work / "image", "container", f"linux-{platform.machine()}")
    package = shipped.path / "package"
    environment = plain_environment(work, PYTHONPATH=str(package), EMBEDGE_MODEL=str(shipped.path / "bundle"))
    command = [sys.executable, "-S", "-m", "embedge.serverless"]
    return Place(
        sizes={"in the image, without the base image": size_of(shipped.path)},
        start=lambda: time_server(command, environment),
    )


def google_cloud(bundle: Path, work: Path) -> Place:
    """examples/serverless/google with a bundle, and what pip installs for its requirements."""
    installed, python = _install(_GOOGLE, work)
    source = work / "source"
    shutil.copytree(EXAMPLES / "serverless" / "google", source)
    shutil.copytree(bundle, source / "bundle")
    command = [str(python), "-m", "functions_framework", "--target", "embed", "--source", str(source / "main.py")]
    return Place(
        sizes={
            "uploaded": size_of(source),
            "installed by Google's build": installed.size + size_of(source),
        },
        start=lambda: time_server(command, plain_environment(work)),
        notes=("two processes, which share a part of the memory",),
    )


def ship(bundle: Path, output: Path, place: PlaceName, target: str) -> Shipped:
    """The output of `embedge ship` for this version of Python.

    Raises:
        CannotRunError: it cannot be made; the message is embedge's.
    """
    try:
        return ship_bundle(Bundle.open(bundle), output, Target(place=place, platform=target, python=this_python()))
    except EmbedgeError as error:
        raise CannotRunError(f"{error} (this program ships for the Python that runs it)") from error


def _install(row: Row, work: Path) -> tuple[Installed, Path]:
    folder = work / "environment"
    try:
        return install(row, folder), folder / "bin" / "python"
    except InstallError as error:
        raise CannotRunError(f"pip could not install {' and '.join(row.requirements)}: {error}") from error
