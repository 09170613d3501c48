"""What is in `deploy/` fits together and fits Kelp: names of settings, files, ports, stops; nginx.conf is run by
`tests/faces/test_behind_nginx.py`."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dav_provider.forwarding import Front
from vfs.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNITS = ("kelp.service", "kelp-worker.service")
LONGEST_STOP = 12  # seconds: cli/serving.py, cli/processes.py

# A name of a setting, or what `kelp serve` itself takes from the environment.
BESIDE = {"KELP_ADMIN_PASSWORD", "KELP_DATA"}


def is_setting(name: str) -> bool:
    """KELP_SECTION_NAME of something that Settings has."""
    section, _, field = name.removeprefix("KELP_").lower().partition("_")
    known = section in Settings.__slots__ and hasattr(getattr(Settings(), section), field)
    return name in BESIDE or (name.startswith("KELP_") and known)


def env_file(name: str) -> dict[str, str]:
    lines = (DEPLOY / name).read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {key: value for key, _, value in pairs}


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def filled_in(text: str) -> str:
    """As compose does it, with a password where the example leaves one out."""
    values = {name: value or "secret" for name, value in env_file("kelp.env.example").items()}
    return re.sub(r"\$\{(\w+):\?\}", lambda match: values[match[1]], text)


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)
    else:
        yield str(value)


def test_every_variable_is_in_the_example_and_required() -> None:
    """A variable that was forgotten stops compose, instead of being empty."""
    text = (DEPLOY / "compose.yaml").read_text()
    used = re.findall(r"\$\{(\w+)([^}]*)\}", text)
    assert used and {rest for _, rest in used} == {":?"}
    assert not re.search(r"\$(?!\{)", text)
    assert {name for name, _ in used} == set(env_file("kelp.env.example"))


@pytest.mark.parametrize("file", ["kelp.env.example", "kelp-systemd.env.example"])
def test_examples_name_settings_and_hold_no_secrets(file: str) -> None:
    for name, value in env_file(file).items():
        assert is_setting(name) or not name.startswith("KELP_"), name
        if re.search("PASSWORD|SECRET", name):
            assert value == ""
        for password in re.findall(r"://[^/@]*:([^/@]*)@", value):
            assert password == "PASSWORD"


def test_systemd_example_loads() -> None:
    environ = env_file("kelp-systemd.env.example")
    assert all(map(is_setting, environ))
    settings = Settings.load(environ=environ)
    Front.of(settings.server)
    assert (
        settings.queue.url and settings.cache.url.startswith("s3://") and settings.database.url.startswith("postgres")
    )


@pytest.mark.parametrize("service", ["kelp-1", "kelp-2", "worker"])
def test_compose_gives_settings_that_kelp_takes(compose: Any, service: str) -> None:
    environ = {name: filled_in(str(value)) for name, value in compose["services"][service]["environment"].items()}
    assert all(map(is_setting, environ))
    settings = Settings.load(environ=environ)
    front = Front.of(settings.server)
    assert front is not None and front.public_host == "drive.example"
    proxy = compose["services"]["nginx"]["networks"]["default"]["ipv4_address"]
    assert front.origin({"REMOTE_ADDR": proxy, "HTTP_X_FORWARDED_FOR": "203.0.113.9"})
    for url in (settings.database.url, settings.cache.url, settings.queue.url):
        assert any(f"{host}:" in url or f"@{host}/" in url for host in compose["services"]), url


def test_compose_has_all_it_names(compose: Any) -> None:
    services = compose["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_completed_successfully" or "healthcheck" in services[other], (
                name,
                other,
            )
        for volume in service.get("volumes", []):
            source = filled_in(volume).split(":")[0]
            assert (
                source in compose["volumes"]
                or source.startswith("/")
                or source == "./tls"
                or (DEPLOY / source).is_file()
            )
        assert service.get("restart") == "always" or name == "seaweedfs-sync"
        for config in service.get("configs", []):
            assert config["source"] in compose["configs"]
    assert "volumes" not in services["redis"], "it may lose everything"
    build = compose["x-kelp"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
    nodes = re.findall(r"^    server (\S+):8080 ", (DEPLOY / "nginx.conf").read_text(), re.M)
    assert nodes and set(nodes) <= set(services)


def test_secrets_are_in_the_environment_only(compose: Any) -> None:
    for text in strings(compose):
        rest = re.sub(r"\$\{\w+:\?\}", "", text)
        assert not re.search(r"://[^/@]*:[^/@]+@", rest), text
        assert not re.search(r"(?i)(?:password|secretkey)[\"']?\s*[:=]\s*[\"']?\w", rest), text
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            assert "${" in value or not re.search("PASSWORD|SECRET|AUTH", name), name


def test_connections_suffice(compose: Any) -> None:
    """Sizing, docs/operations.md."""
    example, services = env_file("kelp.env.example"), compose["services"]
    nodes = sum("KELP_DATABASE_URL" in services[name]["environment"] for name in ("kelp-1", "kelp-2"))
    processes = nodes * int(example["KELP_SERVER_PROCESSES"]) + int(example["KELP_MIRROR_WORKERS"])
    filer = tomllib.loads((DEPLOY / "seaweedfs-filer.toml").read_text())["postgres2"]["connection_max_open"]
    most = re.search(r"max_connections=(\d+)", services["postgres"]["command"])
    assert most and processes * Settings().database.connections + filer <= int(most[1]) - 20


def test_there_is_time_to_stop(compose: Any) -> None:
    assert int(compose["x-kelp"]["stop_grace_period"].rstrip("s")) > LONGEST_STOP
    for unit in UNITS:
        assert int(service_of(unit)["TimeoutStopSec"]) > LONGEST_STOP


def test_image_holds_the_program() -> None:
    """The rooms of pyproject.toml, and what its build reads."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    rooms = [room.rstrip("*") for room in project["tool"]["setuptools"]["packages"]["find"]["include"]]
    for room in rooms:
        assert f"COPY {room} /src/{room}\n" in dockerfile and f"!{room}" in ignored
    files = [
        "pyproject.toml",
        "constraints.txt",
        project["project"]["readme"],
        *(f"{m}.py" for m in project["tool"]["setuptools"]["py-modules"]),
    ]
    assert f"COPY {' '.join(files)} /src/\n" in dockerfile and {f"!{file}" for file in files} <= set(ignored)
    assert "USER kelp\n" in dockerfile and "8080" in dockerfile
    assert not re.search(r"(?i)password|secret", dockerfile)


def service_of(unit: str) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / unit)
    return dict(parser["Service"])


@pytest.mark.parametrize("unit", UNITS)
def test_units(unit: str) -> None:
    service = service_of(unit)
    assert service["Restart"] == "always" and service["User"] == "kelp"
    assert service["KillSignal"] == "SIGTERM" and service["KillMode"] == "mixed", "the parent tells its processes"
    writable = env_file("kelp-systemd.env.example")
    assert writable["KELP_NAS_ROOT"].startswith(service["ReadWritePaths"] + "/")
    assert writable["KELP_DATA"] == f"/var/lib/{service['StateDirectory']}"


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_understands_the_units(unit: str, tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not installed (Debian package systemd)")
    copy = tmp_path / unit
    copy.write_text((DEPLOY / unit).read_text().replace("/opt/kelp/bin/kelp", "/bin/true"))
    done = subprocess.run([tool, "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and unit not in done.stderr, done.stderr
