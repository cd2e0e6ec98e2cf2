"""errors.py: one line that any terminal can show, whatever is in a name."""

import json
import pickle
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedge import BundleNotFoundError, Embedder, EmbedgeError, InputTypeError, MissingExtraError, errors

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EmbedgeError)]
# What the Unicode database says of them: control characters, separators, surrogates; and Bidi_Control, of its PropList.
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@given(st.text(st.characters()))
def test_a_message_has_nothing_that_a_terminal_obeys_and_loses_nothing_else(text: str) -> None:
    message = str(EmbedgeError(text))
    seen = [c for c in text if unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") and c not in BIDI]
    assert all(unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") and c not in BIDI for c in message)
    assert (message == text) == (len(seen) == len(text))
    if "\\" not in text:
        assert message.encode("ascii", "backslashreplace").decode("unicode_escape") == text
    assert message.splitlines() in ([], [message])
    assert str(EmbedgeError(message)) == message


def test_what_people_write_stays_and_what_is_escaped_is_not_escaped_again() -> None:
    assert str(EmbedgeError(r"東京 naïve 🙂 \n C:\new")) == r"東京 naïve 🙂 \n C:\new"
    assert str(EmbedgeError("a\x1b[31mb\nc\u202e\x9b\udcff")) == r"a\x1b[31mb\nc\u202e\x9b\udcff"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_errors_travel_between_processes(kind: type[EmbedgeError]) -> None:
    error = kind("no \x1b here")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.args, str(again)) == (kind, (r"no \x1b here",), r"no \x1b here")
    assert error.args == again.args


def test_an_error_may_say_nothing_and_have_other_parts() -> None:
    assert (str(EmbedgeError()), EmbedgeError(3, "x").args) == ("", (3, "x"))
    assert MissingExtraError("pip\n").msg == "pip\\n"
    assert isinstance(InputTypeError("x"), TypeError)


def test_a_warning_is_one_line() -> None:
    with pytest.warns(UserWarning, match=r"^a\\nb$"):
        errors.warn("a\nb", UserWarning)


def test_a_path_with_an_escape_sequence_is_shown_as_one(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFoundError) as seen:
        Embedder(tmp_path / "\x1b]0;owned\x07\n")
    assert r"\x1b]0;owned\x07\n" in str(seen.value)
    assert str(seen.value).isprintable()


def test_a_value_is_shortened_for_a_message() -> None:
    nested: list[object] = []
    nested.append(nested)
    assert errors.short("a" * 38) == "'" + "a" * 38 + "'"
    assert errors.short("a" * 39) == "'" + "a" * 36 + "..."
    assert errors.short({"a": None}, write=json.dumps, most=60) == '{"a": null}'
    assert errors.short(nested, write=json.dumps) == "list"  # json refuses what contains itself


@pytest.mark.parametrize(("text", "found"), [("", None), ("🙂", None), ("a\ud83d", "U+D83D"), ("\udfff", "U+DFFF")])
def test_a_lone_surrogate_is_named(text: str, found: str | None) -> None:
    assert errors.find_surrogate(text) == found
