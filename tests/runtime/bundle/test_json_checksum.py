"""json_checksum.py and from_json.py: no damage to a manifest goes unseen, and what is no strict JSON is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedge import Bundle, BundleCorruptError, BundleError, EmbedgeError, Manifest
from embedge.bundle.json_checksum import checksum, seal
from embedge.bundle.manifest import Quality
from embedge.bundle.write_files import select_precisions
from manifests import canonical, change, sealed

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)


@pytest.fixture(scope="module")
def text(tiny_bundle: Bundle) -> str:
    """Of a bundle as people have them: with reports, a prompt in Chinese and a checksum."""
    quality = Quality(
        reference="fp32 graph", texts=400, cosine_mean=0.999312345, cosine_min=0.99, batch_difference=3e-07
    )
    records = tiny_bundle.manifest.precisions.items()
    return replace(
        tiny_bundle.manifest,
        prompts={"query": "为这个句子生成表示以用于检索相关文章：", "document": ""},
        precisions={name: replace(record, quality=quality) for name, record in records},
    ).to_json()


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON))
def test_the_checksum_is_that_of_the_canonical_text_as_it_is_defined(data: dict[str, Any]) -> None:
    """The test computes it by hand. It stays right when another program reads and writes the object."""
    expected = json.loads(sealed(data))["crc32"]
    assert checksum(data) == expected
    assert json.loads(seal(data)) == {**data, "crc32": expected}
    assert checksum(json.loads(json.dumps(data, sort_keys=True, indent=4))) == expected


def test_what_is_canonical() -> None:
    data = {"b": [1, 2.0, 1e-5, 1e16, True, None], "a": 'é"\\\n\x1f\x7f', "é": {}, "B": 0.1}
    assert canonical(data) == '{"B":0.1,"a":"é\\"\\\\\\n\\u001f\x7f","b":[1,2.0,1e-05,1e+16,true,null],"é":{}}'


def every_flip(text: str) -> list[bytes]:
    """The text with one bit changed, for every one of its bits."""
    data = text.encode()
    flips = []
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        flips.append(bytes(changed))
    return flips


def outcome(data: bytes) -> Manifest | None:
    """The manifest, or None where it is refused by one of our errors."""
    try:
        return Manifest.from_json(data.decode())
    except (EmbedgeError, UnicodeDecodeError):  # UnicodeDecodeError: the caller reports it with the file's name
        return None


def test_every_flipped_bit_of_a_manifest_is_noticed_or_changes_nothing(text: str) -> None:
    expected = Manifest.from_json(text)
    found = [outcome(flip) for flip in every_flip(text)]
    assert len(found) > 30_000
    assert [manifest for manifest in found if manifest not in (None, expected)] == []
    assert None in found
    assert expected in found


def test_every_flipped_bit_of_the_checksum_is_noticed(text: str) -> None:
    """Also of its name: a manifest that lost the checksum does not pass for an older one. Case matters."""
    member = text[text.index('"crc32": "', text.rindex("}\n  }")) :][: len('"crc32": "01234567"')]
    start = 8 * len(text[: text.rindex(member)].encode())
    flips = every_flip(text)[start : start + 8 * len(member)]
    assert len(flips) == 8 * 19
    assert [flip for flip in flips if outcome(flip) is not None] == []


def test_a_changed_manifest_says_what_it_should_have(tiny_bundle: Bundle, text: str, tmp_path: Path) -> None:
    """So that who changed it on purpose can go on."""
    changed = text.replace('"max_tokens": 64', '"max_tokens": 32')
    found = checksum(json.loads(changed))
    with pytest.raises(BundleCorruptError, match=rf"embedge.json has changed since .* \(CRC-32 '{found}', not '"):
        Manifest.from_json(changed)


@pytest.mark.parametrize("recorded", [None, 5, "", [], "x" * 10_000])
def test_a_checksum_that_is_none_is_wrong(text: str, recorded: object) -> None:
    with pytest.raises(BundleCorruptError, match="has changed since it was written"):
        Manifest.from_json(json.dumps({**json.loads(text), "crc32": recorded}))


def before(text: str) -> dict[str, Any]:
    """A manifest as it was written before there was a checksum."""
    old = {"format_version", "model", "source", "licence", "task", "architecture", "dimension", "max_tokens", "pooling"}
    old |= {"sparse", "multi_vector", "prompts", "default_prompt", "files", "precisions"}
    return {name: value for name, value in json.loads(text).items() if name in old}


def test_a_manifest_of_before_is_read_and_gets_a_checksum_when_it_is_copied(text: str) -> None:
    old = json.dumps(before(text))
    assert Manifest.from_json(old) == Manifest.from_json(text)
    copied = select_precisions(old, ("int8", "fp32"))
    assert copied == seal(before(text))
    assert select_precisions(copied, ("int8", "fp32")) == copied


def test_a_manifest_of_before_has_nothing_that_came_later(text: str) -> None:
    with pytest.raises(
        BundleCorruptError, match="has changed since it was written \\(it has 'colour' but no checksum, 'crc32'\\)"
    ):
        Manifest.from_json(json.dumps({**before(text), "colour": "blue"}))


def test_what_later_embedges_say_is_kept_and_under_the_checksum(text: str) -> None:
    later = sealed({**json.loads(text), "colour": {"of": "blue"}})
    small = select_precisions(later, ("int8",))
    assert json.loads(small)["colour"] == {"of": "blue"}
    assert Manifest.from_json(small).precisions.keys() == {"int8"}
    with pytest.raises(BundleCorruptError):
        Manifest.from_json(small.replace("blue", "glue"))


def test_a_file_that_two_precisions_share_stays_with_one_of_them(text: str) -> None:
    """And so does the tokenizer, though a precision that goes claims it for its graph."""
    data = json.loads(text)
    shared = data["precisions"]["int8"]["file"] + "_data"
    data["precisions"]["fp32"]["file"] = shared
    data["precisions"]["fp16"] = {**data["precisions"]["fp32"], "file": "tokenizer.json"}
    small = Manifest.from_json(select_precisions(sealed(data), ("int8",)))
    assert {"tokenizer.json", "onnx/model_int8.onnx", shared} <= small.files.keys()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"dimension": 32', '"dimension": 32, "dimension": 33', "'dimension' is there twice"),
        ('"texts": 1', '"texts": NaN', "NaN is not a JSON number"),
        ('"texts": 1', '"texts": -Infinity', "-Infinity is not a JSON number"),
        ('"cosine_mean": 1.0', '"cosine_mean": 1e400', "is too large|is out of range"),
        ('"texts": 1', '"texts": 1, "of a later embedge": 1e400', "is too large"),
        ('"texts": 1', '"texts": 1' + "0" * 30, "is out of range"),
        ('"texts": 1', '"texts": 1' + "0" * 6000, "is not JSON"),
        ('"texts": 1', '"texts": ' + "[" * 700 + "]" * 700, "must be int|too deeply"),
        ('"document": ""', r'"document": "\ud800"', "a string with a lone surrogate"),
        ('"document": ""', r'"\uDFFF": ""', "a string with a lone surrogate"),
        ('"dimension": 32', '"dimension": 32.0', "dimension must be int"),
        ("{", "\ufeff{", "is not JSON"),
        ('"format_version": 1', '"format_version": true', "must be int"),
        ('"size": ', '"size": -', "less than 0 bytes"),
    ],
)
@pytest.mark.parametrize("has_checksum", [False, True])
def test_json_that_says_two_things_or_nothing_is_refused(
    text: str, old: str, new: str, message: str, has_checksum: bool
) -> None:
    """In an older manifest without a checksum, and in one whose checksum is right where it can be computed."""
    data = before(text)
    for record in data["precisions"].values():
        record["quality"] = {"reference": "x", "texts": 1, "cosine_mean": 1.0, "cosine_min": 1.0}
    plain = json.dumps(data)
    assert plain.count(old)
    changed = plain.replace(old, new, 1)
    if has_checksum:
        try:
            crc = checksum(json.loads(changed))
        except (ValueError, RecursionError):
            crc = "00000000"
        changed = changed[: changed.rindex("}")] + f', "crc32": "{crc}"}}'
    with pytest.raises(BundleError, match=message):
        Manifest.from_json(changed)


def test_a_report_with_numbers_that_json_lacks_is_not_written(tiny_bundle: Bundle) -> None:
    quality = Quality(reference="x", texts=1, cosine_mean=float("nan"), cosine_min=0.0)
    record = replace(tiny_bundle.manifest.precisions["int8"], quality=quality)
    with pytest.raises(BundleError, match="cannot be written"):
        replace(tiny_bundle.manifest, precisions={"int8": record}).to_json()


def test_a_bundle_that_was_changed_does_not_open(tiny_bundle: Bundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bundle.path, tmp_path / "copy"))
    change(folder, lambda manifest: manifest["prompts"].update(query="q: "))
    assert Bundle.open(folder).manifest.prompts == {"query": "q: "}
    path = folder / "embedge.json"
    path.write_text(path.read_text().replace("q: ", "p: "))
    with pytest.raises(BundleCorruptError, match=r"copy/embedge\.json has changed since it was written"):
        Bundle.open(folder)
