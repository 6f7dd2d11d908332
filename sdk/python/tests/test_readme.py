"""The code of the README works as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def test_the_service_and_its_test_work(tmp_path: Path) -> None:
    if not README.exists():
        pytest.skip("the README is elsewhere")
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    [service] = [block for block in blocks if "app = FastAPI" in block]
    [test] = [block for block in blocks if "def test_reports" in block]
    (tmp_path / "service.py").write_text(service)
    (tmp_path / "test_service.py").write_text(test)
    command = [sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ}, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_other_services_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_ISSUER", "http://localhost:8000")
    monkeypatch.setenv("TESSERA_AUDIENCE", "tessera")
    monkeypatch.setenv("TESSERA_FEED", "off")
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    services = [block for block in blocks if "Tessera.from_env()" in block]
    assert len(services) == 3
    for service in services:
        exec(compile(service, "service.py", "exec"), {"__name__": "service"})
