"""README.md and docs/: short enough to read, links that lead somewhere, code that runs, lists that are complete."""

import io
import os
import re
from collections import Counter
from contextlib import chdir, redirect_stdout
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from click import Context

import embedge
import embedge_export
from embedge import Bundle, Manifest, integrations
from embedge.command.main import cli
from embedge_export import export
from embedge_models import recipe_names
from seeded_roberta import write_roberta

ROOT = Path(__file__).parents[1]
README, API, ARCHITECTURE = ROOT / "README.md", ROOT / "docs" / "api.md", ROOT / "docs" / "architecture.md"
LONGEST_README = 200  # lines
FOLDERS = ("", "docs", "examples", "benchmarks", "models", "kernels", "tests/emulated", "tests/robustness")
PAGES = [page for folder in FOLDERS for page in sorted((ROOT / folder).glob("*.md"))]


def without_code(text: str) -> str:
    """A page's text without its blocks of code and its code in lines: neither holds links."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE))


def links(page: Path) -> list[str]:
    """Targets of a page's links, but for those to other sites."""
    targets = re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8")))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings; a second heading of one text gets a number."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    seen: Counter[str] = Counter()
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?)\s*$", text, flags=re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


def first_column(page: Path, heading: str) -> list[str]:
    """The names in backticks in the first column of the table under a heading."""
    body = re.split(rf"^#+ {re.escape(heading)}$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1]
    body = re.split(r"^#", body, flags=re.MULTILINE)[0]
    cells = re.findall(r"^\| (`.+?) \|", body, flags=re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`(\w[\w.]*)`", cell)]


def blocks(page: Path, language: str) -> list[str]:
    """The blocks of code of a language, in order; those of "" show output."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return [code for name, code in found if name == language]


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= LONGEST_README


def test_the_readme_has_the_command_that_runs_the_tests() -> None:
    """`.ci/run` runs the same: the extra, then pytest."""
    assert any("pip install -e '.[test]' && pytest" in block for block in blocks(README, "sh"))
    commands = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "-e '.[test]'" in commands
    assert re.search(r"^ +pytest\b", commands, flags=re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(page: Path) -> None:
    dead = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = Path(os.path.normpath(page.parent / path)) if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    assert not dead


def test_the_readme_leads_to_every_page() -> None:
    linked = {(ROOT / target.partition("#")[0]).resolve() for target in links(README)}
    assert set((ROOT / "docs").glob("*.md")) <= linked


def test_the_first_example_prints_what_the_readme_says(minilm_bundle: Bundle) -> None:
    code, printed = blocks(README, "python")[0], blocks(README, "")[0]
    output = io.StringIO()
    with redirect_stdout(output):
        exec(code.replace("all-MiniLM-L6-v2", str(minilm_bundle.path)), {})
    assert output.getvalue() == printed


@pytest.fixture(scope="module")
def models(minilm_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Bundles that take the place of names: MiniLM, a seeded bge-m3 of two layers and a seeded reranker."""
    folder = tmp_path_factory.mktemp("models")
    found = {"all-MiniLM-L6-v2": minilm_bundle.path, "bge-small-en-v1.5": minilm_bundle.path}
    for name, rerank in (("bge-m3", False), ("bge-reranker-base", True)):
        checkpoint = write_roberta(folder / name, rerank=rerank)
        found[name] = export(checkpoint, folder / f"{name}-bundle", precisions=("fp32",), verify=False).path
    return {name: str(path) for name, path in found.items()}


@pytest.mark.parametrize("name", ["README.md", "docs/embed.md", "docs/rerank.md"])
def test_the_code_of_a_page_runs(models: dict[str, str], tmp_path: Path, name: str) -> None:
    (tmp_path / "texts.txt").write_text("Yeast makes dough rise.\nThe bike has a flat tyre.\n")
    names: dict[str, Any] = {}
    with chdir(tmp_path), redirect_stdout(io.StringIO()):
        for block in blocks(ROOT / name, "python"):
            for model, path in models.items():
                block = block.replace(f'"{model}"', repr(path))
            exec(block, names)
    assert names["vector"].shape == (384,) if "vector" in names else names["best"][0][0] in (0, 1)


def test_the_api_lists_what_embedge_exports() -> None:
    assert sorted(first_column(API, "embedge")) == sorted(embedge.__all__)
    assert first_column(API, "embedge_export") == list(embedge_export.__all__)


def test_the_api_lists_the_integrations() -> None:
    """Every public class of the integrations' modules, which need not be installed to be read."""
    folder = Path(integrations.__file__).parent
    classes = [
        f"{file.relative_to(folder).with_suffix('').parts[0]}.{name}"
        for file in folder.rglob("*.py")
        for name in re.findall(r"^class (Embedge\w+)", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    ]
    assert sorted(first_column(API, "embedge.integrations")) == sorted(classes)


def test_the_architecture_lists_the_manifests_members() -> None:
    listed = first_column(ARCHITECTURE, "The manifest")
    assert listed == [*(field.name for field in fields(Manifest)), "crc32"]


def test_the_models_page_has_every_recipe() -> None:
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    named = {
        name.strip() for cell in re.findall(r"^\| (.+?) \|", page, re.MULTILINE) for name in re.split("[,;]", cell)
    }
    assert set(recipe_names()) <= named


def test_the_command_page_has_every_command() -> None:
    listed = re.findall(r"^\| `embedge (\w+)", (ROOT / "docs" / "command.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(cli.list_commands(Context(cli)))
