"""litmus, the WebDAV protocol compliance test: every suite without a failure and without a warning."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

LITMUS = shutil.which("litmus")


@pytest.mark.skipif(LITMUS is None, reason="litmus is not installed (Debian package litmus)")
@pytest.mark.parametrize("suite", ["basic", "copymove", "props", "locks", "http"])
def test_suite_passes_without_warnings(served_drive, tmp_path: Path, suite: str) -> None:
    run = subprocess.run(
        [LITMUS, "-k", served_drive.url, served_drive.user, served_drive.password],
        env={"TESTS": suite, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    report = run.stdout + run.stderr
    summary = re.search(rf"summary for `{suite}': of (\d+) tests run: (\d+) passed, (\d+) failed", report)
    assert summary, report
    assert summary[1] == summary[2] and summary[3] == "0" and run.returncode == 0, report
    assert "WARNING" not in report, report
