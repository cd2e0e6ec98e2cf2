"""`embedge embed --sparse --multi-vector`: the vectors of encode_all, as JSON lines and in a .npz."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands import runner
from embedge import Bundle, Embedder, TruncationWarning
from embedge.command.main import cli
from embedge_export.verify.passages import passages

TEXTS = [passage.joined for passage in passages()[:9]] + ["bread"]


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    lines = [json.dumps({"id": f"t{number}", "text": text}) for number, text in enumerate(TEXTS)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    return ["-i", str(tmp_path / "in.jsonl")]


def embed(bundle: Bundle, *arguments: str) -> Any:
    return runner().invoke(cli, ["embed", "-m", str(bundle.path), *arguments])


def test_json_lines_have_all_kinds_exactly(m3_bundle: Bundle, inputs: list[str]) -> None:
    done = embed(m3_bundle, *inputs, "--dense", "--sparse", "--multi-vector")
    assert done.exit_code == 0, done.output
    expected = Embedder(m3_bundle.path).encode_all(TEXTS, multi_vector=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["index"], line["id"]) for line in lines] == [(n, f"t{n}") for n in range(len(TEXTS))]
    for line, one in zip(lines, expected, strict=True):
        assert one.sparse is not None
        np.testing.assert_array_equal(np.float32(line["embedding"]), one.dense)
        np.testing.assert_array_equal(np.float32(line["multi_vector"]), one.multi_vector)
        assert line["sparse"]["indices"] == one.sparse.indices.tolist()
        np.testing.assert_array_equal(np.float32(line["sparse"]["values"]), one.sparse.values)


@pytest.mark.parametrize("kinds", [["sparse"], ["multi-vector"], ["dense", "multi-vector"], ["sparse", "multi-vector"]])
def test_only_the_kinds_that_are_asked_for_are_written(m3_bundle: Bundle, kinds: list[str]) -> None:
    line = json.loads(embed(m3_bundle, "bread", *(f"--{kind}" for kind in kinds)).stdout)
    names = {"dense": "embedding", "sparse": "sparse", "multi-vector": "multi_vector"}
    assert list(line) == ["index", *(names[kind] for kind in kinds)]


def test_npz_has_the_texts_one_after_another(m3_bundle: Bundle, inputs: list[str], tmp_path: Path) -> None:
    done = embed(m3_bundle, *inputs, "--dense", "--sparse", "--multi-vector", "-o", str(tmp_path / "out.npz"))
    assert done.exit_code == 0, done.output
    expected = Embedder(m3_bundle.path).encode_all(TEXTS, multi_vector=True)
    with np.load(tmp_path / "out.npz") as found:
        np.testing.assert_array_equal(found["embeddings"], expected.dense)
        assert found["ids"].tolist() == [f"t{number}" for number in range(len(TEXTS))]
        sparse, multi = found["sparse_offsets"], found["multi_vector_offsets"]
        assert (sparse.dtype, len(sparse), multi.dtype, len(multi)) == (np.int64, 11, np.int64, 11)
        for number, one in enumerate(expected):
            assert one.sparse is not None
            part = slice(sparse[number], sparse[number + 1])
            np.testing.assert_array_equal(found["sparse_indices"][part], one.sparse.indices)
            np.testing.assert_array_equal(found["sparse_values"][part], one.sparse.values)
            rows = found["multi_vectors"][multi[number] : multi[number + 1]]
            np.testing.assert_array_equal(rows, one.multi_vector)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.npz"]  # no temporary file is left


def test_npz_of_no_texts_has_the_types(m3_bundle: Bundle, tmp_path: Path) -> None:
    arguments = ["--sparse", "--multi-vector", "-o", str(tmp_path / "out.npz")]
    assert runner().invoke(cli, ["embed", "-m", str(m3_bundle.path), *arguments], input="").exit_code == 0
    with np.load(tmp_path / "out.npz") as found:
        kinds = {name: (found[name].dtype.name, found[name].shape) for name in found}
    assert kinds == {
        "sparse_indices": ("int32", (0,)),
        "sparse_values": ("float32", (0,)),
        "sparse_offsets": ("int64", (1,)),
        "multi_vectors": ("float32", (0, 32)),
        "multi_vector_offsets": ("int64", (1,)),
    }


def test_multi_vectors_are_embedded_in_windows_of_tokens(
    m3_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded by the tokens of a window, not by its number of texts."""
    from embedge.inference.jobs import Jobs

    windows: list[int] = []
    make = Jobs.all_kinds

    def note(self: Jobs, texts: list[str], *arguments: Any, **options: Any) -> Any:
        windows.append(len(texts))
        return make(self, texts, *arguments, **options)

    monkeypatch.setattr(Jobs, "all_kinds", note)
    (tmp_path / "in.txt").write_text(("bread " * 300).strip() + "\n" + ("bread\n" * 3) + "")
    monkeypatch.setattr("embedge.heads._CHARACTERS", 1000)
    done = embed(m3_bundle, "-i", str(tmp_path / "in.txt"), "--multi-vector")
    assert len(done.stdout.splitlines()) == 4
    assert windows == [0, 1, 3]  # the first asks for the kinds
    windows.clear()
    embed(m3_bundle, "-i", str(tmp_path / "in.txt"), "--sparse")
    assert windows == [0, 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sparse", "-o", "out.npy"], "a .npy file holds dense vectors only; give -o FILE.npz or FILE.jsonl"),
        (["--sparse", "--truncate-dim", "8"], "--truncate-dim is for dense vectors; add --dense"),
        (["--multi-vector", "--output-precision", "binary"], "--output-precision is for dense vectors; add --dense"),
        (["--dense", "--sparse", "--output-precision", "int8"], "--output-precision int8 needs all vectors in memory"),
    ],
)
def test_options_that_do_not_go_together_are_refused(m3_bundle: Bundle, arguments: list[str], message: str) -> None:
    done = embed(m3_bundle, "bread", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_model_without_the_head_says_so(tiny_bundle: Bundle, tmp_path: Path) -> None:
    done = embed(tiny_bundle, "bread", "--sparse", "-o", str(tmp_path / "out.npz"))
    assert done.exit_code == 1
    assert "has no lexical weights; use a model that has, such as bge-m3" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_truncation_is_told_once_for_all_windows(m3_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text(("bread " * 600 + "\n") * 40)
    with pytest.warns(TruncationWarning, match="40 of 40 texts are longer than 512 tokens") as caught:
        done = embed(m3_bundle, "-i", str(tmp_path / "in.txt"), "--multi-vector", "-o", str(tmp_path / "o.npz"))
    assert done.exit_code == 0
    assert len(caught) == 1
