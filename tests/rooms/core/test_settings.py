"""Settings: three sources in order, and a clear line for what cannot work."""

from __future__ import annotations

from pathlib import Path

import pytest

from vfs.errors import ConfigurationError
from vfs.settings import Settings


def load(tmp_path: Path, toml: str = "", environ: dict[str, str] | None = None, **more: object) -> Settings:
    file = tmp_path / "kelp.toml"
    file.write_text(toml)
    return Settings.load(file, environ or {}, **more)


def test_the_command_line_wins_over_the_environment_over_the_file(tmp_path: Path) -> None:
    toml = "[server]\nport = 1\nhost = 'a'\nthreads = 3\n"
    settings = load(tmp_path, toml, {"KELP_SERVER_PORT": "2", "KELP_SERVER_HOST": "b", "PATH": "x"}, server_port=3)
    assert (settings.server.port, settings.server.host, settings.server.threads) == (3, "b", 3)
    assert load(tmp_path, toml, server_port=None).server.port == 1


def test_what_depends_on_the_data_folder(tmp_path: Path) -> None:
    settings = Settings.load(None, {}, data=tmp_path / "d")
    assert settings.nas_root == tmp_path / "d" / "nas"
    assert settings.database.url == f"sqlite:///{tmp_path}/d/kelp.db"
    assert settings.cache.url == f"{tmp_path}/d/cache"
    assert Settings.load(None, {"KELP_NAS_ROOT": "/mnt/nas"}, data=tmp_path).nas_root == Path("/mnt/nas")


@pytest.mark.parametrize(
    ("environ", "name", "value"),
    [
        ({"KELP_AUTH_ALLOW_PLAIN_HTTP": "Yes"}, "auth.allow_plain_http", True),
        ({"KELP_MIRROR_RETRIES": "60,180,360"}, "mirror.retries", (60.0, 180.0, 360.0)),
        ({"KELP_DAV_NO_QUOTA_FOR": "Some/1, Other"}, "dav.no_quota_for", ("Some/1", "Other")),
        ({"KELP_DAV_NO_QUOTA_FOR": ""}, "dav.no_quota_for", ()),
        ({"KELP_MIRROR_DELAY": "0.5"}, "mirror.delay", 0.5),
        ({"KELP_SERVER_TLS_CERT": "/c", "KELP_SERVER_TLS_KEY": "/k"}, "server.tls_key", Path("/k")),
        ({"KELP_ADMIN_PASSWORD": "no setting of ours"}, "server.port", 8080),
    ],
)
def test_words_of_the_environment(environ: dict[str, str], name: str, value: object) -> None:
    section, field = name.split(".")
    assert getattr(getattr(Settings.load(None, environ), section), field) == value


@pytest.mark.parametrize(
    ("toml", "named"),
    [
        ("[server]\nprot = 1", "server.prot"),
        ("port = 1", "port"),
        ("server = 5", "server"),
        ("[server]\nport = 'x'", "server.port"),
        ("[server]\nport = 80.5", "server.port"),
        ("[server]\nport = true", "server.port"),
        ("[server]\nport = 70000", "server.port"),
        ("[server]\nhost = ['a']", "server.host"),
        ("[server]\nthreads = 0", "threads"),
        ("[server]\ntls_cert = 'x'", "key"),
        ("[auth]\nallow_plain_http = 'maybe'", "auth.allow_plain_http"),
        ("[mirror]\nretries = ['x']", "mirror.retries"),
        ("[mirror]\nretries = 5", "mirror.retries"),
        ("[dav]\nno_quota_for = [5]", "dav.no_quota_for"),
        ("[mirror]\nretries = [-5]", "mirror.retries"),
        ("[mirror]\nworkers = 0", "mirror.workers"),
        ("[mirror]\ndelay = -1", "mirror.delay"),
        ("[mirror]\nsweep = 0", "mirror.sweep"),
        ("[mirror]\nlease = nan", "mirror.lease"),
        ("[mirror]\nprobe = inf", "mirror.probe"),
        ("[versions]\nkeep_count = -1", "versions.keep_count"),
        ("[trash]\nkeep_days = -1", "trash.keep_days"),
        ('[cache]\nurl = "s3://b?endpoint=http://x"\nlimit = "60 %"', "cache.limit"),
        ("[server", "kelp.toml"),
    ],
)
def test_what_cannot_work_is_named_in_one_line(tmp_path: Path, toml: str, named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, toml)
    assert named in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xff")
    for name in ("missing", "latin", "."):
        with pytest.raises(ConfigurationError):
            Settings.load(tmp_path / name, {})


def test_secrets_of_vaults_are_never_shown(tmp_path: Path) -> None:
    environ = {"KELP_VAULT_KEY": "-----BEGIN secret", "KELP_VAULT_PASSPHRASE": "secret words"}
    settings = Settings.load(None, environ, data=tmp_path)
    assert (settings.vault.key, settings.vault.passphrase) == ("-----BEGIN secret", "secret words")
    assert "secret" not in repr(settings.vault) and "secret words" not in repr(settings)
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, "[vault]\npassphrase = 4711\n")
    assert "vault.passphrase" in str(caught.value) and "4711" not in str(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(ConfigurationError, match="only one of them"):
        load(tmp_path, "[vault]\npassphrase = 'x'\npassphrase_file = 'y'\n")


def test_files_of_keys_are_absolute_and_an_empty_name_is_none(tmp_path: Path) -> None:
    settings = Settings.load(None, {"KELP_VAULT_KEY_FILE": "k.pem", "KELP_VAULT_PASSPHRASE_FILE": ""})
    assert settings.vault.key_file == Path("k.pem").absolute() and settings.vault.passphrase_file is None
