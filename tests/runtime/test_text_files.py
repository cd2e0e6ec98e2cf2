"""text_files.py: what is read where the command's own tests cannot make it fail."""

from pathlib import Path
from typing import Any

import pytest

from embedge import InputValueError
from embedge.text_files import open_items


def read(source: Path, **options: Any) -> list[str]:
    with open_items(str(source), **options) as items:
        return [item.text for item in items]


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by its mode: root may read everything."""

    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputValueError, match=r"in\.txt cannot be read \(permission denied\); `ls -l`"):
        read(tmp_path / "in.txt")


def test_nesting_without_end_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "in.ndjson").write_text("[" * 200_000)
    with pytest.raises(InputValueError, match=r"in\.ndjson line 1 is not JSON"):
        read(tmp_path / "in.ndjson")


@pytest.mark.parametrize(
    ("option", "advice"), [("-i", "pass --format text"), ("--calibration", "rename the file to .txt")]
)
def test_plain_lines_in_a_jsonl_get_advice_that_the_command_has(tmp_path: Path, option: str, advice: str) -> None:
    """`embedge export`, which has --calibration, has no --format."""
    (tmp_path / "in.jsonl").write_text("plain\n")
    with (
        pytest.raises(InputValueError, match=f"; for one text per line, {advice}$"),
        open_items(str(tmp_path / "in.jsonl"), option=option) as items,
    ):
        next(items)


def test_a_file_is_opened_before_the_first_text_is_asked_for(tmp_path: Path) -> None:
    """So that a slow model is not loaded in vain."""
    with pytest.raises(InputValueError, match="no such file"), open_items(str(tmp_path / "no.txt")):
        pytest.fail("it was opened")


def test_a_line_without_an_end_is_refused_before_memory_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedge.text_files._LONGEST_LINE", 1 << 20)
    path = tmp_path / "texts.txt"
    path.write_bytes(b"short\n" + b"a" * (1 << 20) + b"\n" + b"b" * 5)
    with open_items(str(path)) as items:
        assert next(items).text == "short"
        with pytest.raises(InputValueError, match="line 2 is longer than 1 MiB"):
            next(items)
