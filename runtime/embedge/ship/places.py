"""Where an output goes, and its layout there: a folder, or a function, a layer or an image for AWS Lambda."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from embedge.bundle.manifest import Task
from embedge.errors import InputValueError
from embedge.ship.platforms import PLATFORMS, this_platform

PlaceName = Literal["folder", "lambda", "layer", "container"]
Half = Literal["packages", "bundle"]  # of an output; a layer with one and a function with the other upload directly

# embedge.serverless reads $EMBEDGE_MODEL, else this folder below $LAMBDA_TASK_ROOT.
BUNDLE = "bundle"
HANDLER = "lambda_function.lambda_handler"  # Lambda's own default
_HANDLER_FILE = "lambda_function.py"
_DOCKERFILE = "Dockerfile"
_HANDLER_CODE = "from embedge.serverless import lambda_handler as lambda_handler\n"
# Lambda's Python 3.11 runs on Amazon Linux 2, whose glibc is 2.26; onnxruntime's wheels need 2.27 or later. From 3.12
# it is Amazon Linux 2023, with 2.34 (https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html).
_OLDEST_ON_LAMBDA = (3, 12)
_DOCKER_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_DOCKERFILE_CODE = """\
# docker build -t embedge-function .
FROM --platform=linux/{machine} public.ecr.aws/lambda/python:{python}
COPY package/ ${{LAMBDA_TASK_ROOT}}/
COPY bundle/ ${{LAMBDA_TASK_ROOT}}/bundle/
ENV OPENBLAS_NUM_THREADS=1 ORT_DISABLE_TELEMETRY=1
CMD ["{handler}"]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A layout.

    Attributes:
        packages: the folder of the packages in the output; empty for the output itself. It is on ``sys.path`` there.
        whole_numpy: whether the parts of numpy stay that embedge does not import.
    """

    packages: str
    whole_numpy: bool


PLACES: Mapping[PlaceName, Place] = {
    "folder": Place(packages="", whole_numpy=True),
    "lambda": Place(packages="", whole_numpy=False),
    "layer": Place(packages="python", whole_numpy=False),
    "container": Place(packages="package", whole_numpy=False),
}
_CLASSES: Mapping[Task, str] = {"embed": "Embedder", "rerank": "Reranker"}
_IN_A_LAYER = "set EMBEDGE_MODEL=/opt/bundle in the function"
_NOTES: Mapping[tuple[PlaceName, Half | None], str] = {
    ("folder", None): 'put {output} on PYTHONPATH, and load the bundle: {loader}("{output}/bundle")',
    ("lambda", None): f"the function's handler is {HANDLER}",
    ("lambda", "bundle"): f"the function's handler is {HANDLER}; it needs the layer of --layer --only packages",
    ("lambda", "packages"): f"the function's handler is {HANDLER}; add the layer of --layer --only bundle, and "
    f"{_IN_A_LAYER}",
    ("layer", None): f"{_IN_A_LAYER}; its handler can be embedge.serverless.lambda_handler",
    ("layer", "packages"): "add the layer to a function of --lambda --only bundle",
    ("layer", "bundle"): f"add the layer to a function of --lambda --only packages, and {_IN_A_LAYER}",
    ("container", None): "build the image: docker build -t NAME {output}",
}


def note(place: PlaceName, only: Half | None, output: Path, task: Task) -> str:
    """Return one line that says what to do with an output."""
    line, loader = _NOTES[place, only], _CLASSES[task]
    if place == "folder" and output.suffix.lower() == ".zip":  # Python cannot import numpy from a ZIP file
        return f"unpack {output} to a folder, and {line.format(output=output.with_suffix(''), loader=loader)}"
    return line.format(output=output, loader=loader)


def default_platform(place: PlaceName) -> str:
    """Return this machine's platform; for Lambda, Linux on this machine's processor.

    Raises:
        InputValueError: there are no wheels for it.
    """
    here = this_platform()
    if place == "folder" or sys.platform == "linux":
        return here
    return "linux-x86_64" if PLATFORMS[here].machine == "amd64" else "linux-aarch64"  # Windows says amd64


def check_place(place: PlaceName, platform: str, python: str) -> None:
    """Raise InputValueError if Lambda cannot run that platform or that Python."""
    if place == "folder":
        return
    if PLATFORMS[platform].system != "linux":
        raise InputValueError(
            f"AWS Lambda runs Linux, not {platform}; pass --platform linux-x86_64 or --platform linux-aarch64"
        )
    major, minor = map(int, python.split("."))
    if (major, minor) < _OLDEST_ON_LAMBDA:
        raise InputValueError(
            f"onnxruntime does not load in AWS Lambda's Python {python}, whose glibc is too old (2.26); "
            "pass --python 3.12 or later"
        )


def check_output(output: Path, bundle: Path) -> None:
    """Raise InputValueError for an output that could not be put in place at the end."""
    if output.name in ("", ".."):  # such as . or /
        raise InputValueError(f"an output needs a name of its own, found -o {output}; pass a name, such as -o app")
    if os.path.realpath(bundle) in map(str, Path(os.path.realpath(output)).parents):
        raise InputValueError(f"the output {output} would be in the bundle; pass another -o")


def extra_files(place: PlaceName, platform: str, python: str) -> dict[str, str]:
    """Return the texts of the files beside the packages and the bundle, by their paths in the output."""
    if place == "lambda":
        return {_HANDLER_FILE: _HANDLER_CODE}
    if place == "container":
        machine = _DOCKER_MACHINES[PLATFORMS[platform].machine]
        dockerfile = _DOCKERFILE_CODE.format(machine=machine, python=python, handler=HANDLER)
        return {_DOCKERFILE: dockerfile, f"package/{_HANDLER_FILE}": _HANDLER_CODE}
    return {}
