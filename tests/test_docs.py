from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from fringemap.cli import app
from fringemap.records import FLAG_MEANING
from fringemap.report.tables import (
    ERROR_COLUMNS,
    PHASE_COLUMNS,
    PROFILE_COLUMNS,
    SPOT_COLUMNS,
    SUMMARY_COLUMNS,
)
from fringemap.settings import AnalysisSettings, flag_of, settings_to_markdown

ROOT = Path(__file__).resolve().parents[1]
TABLES = {
    "spots.csv": SPOT_COLUMNS,
    "phases.csv": PHASE_COLUMNS,
    "profile.csv": PROFILE_COLUMNS,
    "summary.csv": SUMMARY_COLUMNS,
    "errors.csv": ERROR_COLUMNS,
}
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("changes/*.md")])


def read_page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    """Text below a heading, up to the next of the same rank."""
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found, f"no section {title}"
    return found[1]


def first_cells(text: str) -> list[str]:
    return re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE)


def commands(command: Any, words: tuple[str, ...] = ("fringemap",)) -> dict[str, Any]:
    """Every command of the app that does something, by the words that call it."""
    below = getattr(command, "commands", None)
    if below is None:
        return {" ".join(words): command}
    return {name: found for word, sub in below.items() for name, found in commands(sub, (*words, word)).items()}


COMMANDS = commands(typer.main.get_command(app))
SETTING_FLAGS = {
    flag_of(name)
    for part in AnalysisSettings.__dataclass_fields__.values()
    for name in part.default.__dataclass_fields__
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    text = section(read_page("docs/commands.md"), name)
    documented = {flag for cell in first_cells(text) for flag in re.findall(r"--?[a-z][a-z0-9-]*", cell)}
    options = [p for p in COMMANDS[name].params if p.param_type_name == "option" and p.name != "help"]
    flags = {flag for option in options for flag in option.opts}
    # The settings have a page of their own.
    own = flags - SETTING_FLAGS if "--settings" in flags else flags
    assert own <= documented
    known = {flag for option in options for flag in (*option.opts, *option.secondary_opts)}
    assert documented <= known


def test_no_command_is_documented_that_is_not_there() -> None:
    titles = re.findall(r"^## (.*)$", read_page("docs/commands.md"), re.MULTILINE)
    assert set(titles) == set(COMMANDS)


def test_the_page_of_settings_is_current() -> None:
    assert read_page("docs/settings.md") == settings_to_markdown(), (
        "run python -m fringemap.settings > docs/settings.md"
    )


@pytest.mark.parametrize("table", TABLES)
def test_every_column_is_documented_in_its_order(table: str) -> None:
    cells = [cell.strip("`") for cell in first_cells(section(read_page("docs/outputs.md"), table))]
    assert cells == list(TABLES[table])


def test_every_flag_is_documented_in_the_words_of_the_registry() -> None:
    text = section(read_page("docs/outputs.md"), "Flags")
    rows = re.findall(r"^\| `(\w+)` \| .*? \| (.*) \|$", text, re.MULTILINE)
    assert dict(rows) == {str(flag.name).lower(): meaning for flag, meaning in FLAG_MEANING.items()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_changes_are_one_sentence_each_under_a_known_kind() -> None:
    for path in (ROOT / "changes").glob("*.md"):
        if path.name != "README.md":
            assert re.fullmatch(r"[a-z0-9-]+\.(added|changed|fixed|removed)\.md", path.name), path.name
            assert re.fullmatch(r"[^\n]+\.\n", path.read_text(encoding="utf-8")), path.name


def test_the_examples_of_the_readme_use_commands_and_options_that_exist() -> None:
    blocks = re.findall(r"^```\n(.*?)^```", read_page("README.md"), re.MULTILINE | re.DOTALL)
    for line in re.findall(r"^(?:\$ )?(fringemap .*)$", "".join(blocks), re.MULTILINE):
        name = max((name for name in COMMANDS if line.startswith(name)), key=len, default=None)
        assert name is not None, line
        known = {flag for option in COMMANDS[name].params for flag in (*option.opts, *option.secondary_opts)}
        assert set(re.findall(r" (--?[a-z][a-z-]*)", line)) <= known, line
