"""load.py: which bundle a function opens, with which class, and on how many cores."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from embedge import Bundle, BundleNotFoundError, Reranker
from embedge.bundle.cache_paths import cached_path
from embedge.function.load import lambda_cores, load_model


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EMBEDGE_MODEL", "LAMBDA_TASK_ROOT", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"):
        monkeypatch.delenv(name, raising=False)


def test_the_bundle_is_in_the_task_root(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(tiny_bundle.path, tmp_path / "bundle")
    monkeypatch.setenv("LAMBDA_TASK_ROOT", str(tmp_path))
    assert load_model().bundle.path == tmp_path / "bundle"


def test_the_variable_comes_first(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a path, or as the name of a model in the cache."""
    monkeypatch.setenv("LAMBDA_TASK_ROOT", str(tmp_path))
    monkeypatch.setenv("EMBEDGE_MODEL", str(tiny_bundle.path))
    assert load_model().bundle.path == tiny_bundle.path
    shutil.copytree(tiny_bundle.path, cached_path("someone/tiny"))
    monkeypatch.setenv("EMBEDGE_MODEL", "someone/tiny")
    assert load_model().bundle.path == cached_path("someone/tiny")


def test_a_reranker_is_opened_as_one(
    export: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seeded_roberta import write_roberta

    export(write_roberta(tmp_path / "checkpoint", rerank=True), tmp_path / "bundle", verify=False)
    monkeypatch.setenv("LAMBDA_TASK_ROOT", str(tmp_path))
    assert isinstance(load_model(), Reranker)


def test_where_there_is_none_the_error_says_where_to_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BundleNotFoundError, match="no model: EMBEDGE_MODEL is not set; set it to the path of a bundle"):
        load_model()
    monkeypatch.setenv("LAMBDA_TASK_ROOT", str(tmp_path))
    with pytest.raises(BundleNotFoundError, match=r"no bundle at .*bundle; put one there .*, or set EMBEDGE_MODEL to"):
        load_model()
    monkeypatch.setenv("EMBEDGE_MODEL", str(tmp_path / "elsewhere"))
    with pytest.raises(BundleNotFoundError, match="elsewhere"):
        load_model()


def test_a_name_is_never_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a function asked the network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setenv("EMBEDGE_MODEL", "someone/nothing")
    with pytest.raises(BundleNotFoundError, match="someone/nothing"):
        load_model()


@pytest.mark.parametrize(
    ("megabytes", "cores"),
    [(None, None), ("", None), ("0", None), ("x", None), ("128", 1), ("1769", 1), ("1770", 2), ("10240", 6)],
)
def test_cores_follow_the_memory(monkeypatch: pytest.MonkeyPatch, megabytes: str | None, cores: int | None) -> None:
    """AWS: one for 1,769 MB, and six for 10,240 MB."""
    if megabytes is not None:
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", megabytes)
    assert lambda_cores() == cores


def test_the_model_has_these_cores(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDGE_MODEL", str(tiny_bundle.path))
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
    assert load_model().threads == 1
