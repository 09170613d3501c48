"""The house rules that no linter knows: who may import whom in kelp.py, sizes, names."""

from __future__ import annotations

import ast
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from vfs.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("cli", "dav_provider", "fuse_mount", "http_api", "jobs", "vfs")
MAX_FILE, MAX_FUNCTION = 400, 60
VAGUE = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}


def product_files() -> list[Path]:
    """All modules but migrations, which are lists of tables, never edited once released, and may be long."""
    files = (file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py")))
    return [ROOT / "kelp.py", *(file for file in files if "migrations" not in file.parts)]


def imports(file: Path) -> Iterator[str]:
    """Every module that `file` imports anywhere in it, `from a import b` as both a and a.b."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_kelp_py_imports_faces_jobs_and_bootstrap_but_no_rooms_of_the_core() -> None:
    inner = ("vfs.metadata", "vfs.storage", "vfs.locks", "sqlalchemy", "alembic", "wsgidav", "cheroot")
    assert [name for name in imports(ROOT / "kelp.py") if name.startswith(inner)] == []


def test_nothing_imports_kelp_py() -> None:
    importers = [file for file in product_files() if "kelp" in {name.split(".")[0] for name in imports(file)}]
    assert importers == []


def test_only_kelp_py_joins_faces_and_jobs_to_the_command_line() -> None:
    for file in sorted((ROOT / "cli").glob("*.py")):
        joined = {name.split(".")[0] for name in imports(file)}
        assert not {"dav_provider", "fuse_mount", "http_api", "jobs"} & joined, file.name


@pytest.mark.parametrize("file", product_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_files_and_functions_stay_small(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION, f"{node.name} is too long"


def test_module_names_say_what_is_inside() -> None:
    assert [str(file) for file in product_files() if VAGUE & set(file.stem.split("_"))] == []


def test_every_module_says_what_it_is_for() -> None:
    texts = {file: file.read_text(encoding="utf-8") for file in product_files()}
    silent = [
        str(file.relative_to(ROOT)) for file, text in texts.items() if text and not ast.get_docstring(ast.parse(text))
    ]
    assert silent == []


def test_dependencies_are_what_the_product_imports() -> None:
    """A library that is imported is declared, and one that is declared is imported."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module_of = {
        "argon2-cffi": "argon2",
        "mkdocs-swagger-ui-tag": "mkdocs_swagger_ui_tag",
        "prometheus-client": "prometheus_client",
    }
    names = {requirement.split(">")[0].split("[")[0].strip() for requirement in project["dependencies"]}
    declared = {module_of.get(name, name) for name in names}
    imported = {name.split(".")[0] for file in product_files() for name in imports(file)}
    assert declared <= imported
    assert not imported & {"boto3", "redis", "rq", "psycopg", "httpx"} - declared


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    sections = (field.name for field in fields(Settings) if field.name != "data")
    names = [f"{section}.{field.name}" for section in sections for field in fields(getattr(Settings(), section))]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_the_repository_holds_no_data_and_no_environment() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    strays = [
        name
        for name in listed.stdout.splitlines()
        if name.startswith((".venv/", "kelp-data/")) or "/__pycache__/" in name
    ]
    assert strays == []


def test_ci_runs_exactly_make_test() -> None:
    commands = [line for line in (ROOT / ".ci/run").read_text().splitlines() if "make" in line]
    assert commands == ["exec make test"]
