"""Set up, try and test fringemap with nothing but Python 3.11: ``python3 dev.py demo``, ``python3 dev.py test``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
USAGE = """usage: python3 dev.py COMMAND [ARGUMENT ...]

  demo [ARG ...]   install, draw a frame with a known answer, analyse it, name the page
  run ARG ...      install, then `fringemap ARG ...`
  check            formatting, lint, types, the order of the rooms
  test [ARG ...]   check, then every test; ARG goes to pytest
  fix              format and mend what can be mended
  lock             write constraints.txt anew from pyproject.toml
"""
# Extras of pyproject.toml for those who use fringemap, and for those who train networks or change it.
USE, WORK = "video,gui", "dev"
TRAINING = {"train", "tune", "evaluate"}
# One thread a process: the tests run side by side.
SINGLE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def run(*command: str | Path, env: dict[str, str] | None = None, quiet: bool = False) -> None:
    """Run a command in the root; leave with its status if it fails."""
    words = [str(word) for word in command]
    if not quiet:
        print("+", " ".join(words), flush=True)
    status = subprocess.run(words, cwd=ROOT, env={**os.environ, **(env or {})}, check=False).returncode
    if status:
        sys.exit(status)


def install(extras: str) -> None:
    """Make ``.venv`` and put fringemap with some of its extras into it; quick when nothing has changed."""
    wanted = (ROOT / "pyproject.toml").read_text() + (ROOT / "constraints.txt").read_text()
    stamps = {name: VENV / f"installed-{name.replace(',', '-')}.txt" for name in (USE, WORK)}
    if any(stamps[name].exists() and stamps[name].read_text() == wanted for name in {extras, WORK}):
        return
    if not PYTHON.exists():
        print("+ making .venv", flush=True)
        venv.create(VENV, with_pip=True)
    if extras == WORK:
        # By pip and first: it finds the CPU build where there is one, which uv would pass over for one with CUDA.
        run(PYTHON, "-m", "pip", "install", "-q", "-c", "constraints.txt", "torch")
    target = ("-c", "constraints.txt", "-e", f".[{extras}]")
    has_uv = subprocess.run([PYTHON, "-m", "pip", "install", "-q", "uv"], cwd=ROOT, check=False).returncode == 0
    if not (has_uv and _try("-m", "uv", "pip", "install", "--python", str(PYTHON), *target)):
        run(PYTHON, "-m", "pip", "install", "-q", *target)
    stamps[extras].write_text(wanted)


def offer_browser() -> None:
    """Install Chromium for the tests of the page where that needs no question; else they are skipped and say so."""
    if any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        return
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        print("+ apt-get install chromium", flush=True)
        for words in (("update",), ("install", "-y", "chromium")):
            subprocess.run(["apt-get", "-qq", *words], stdout=subprocess.DEVNULL, check=False)


def _try(*arguments: str) -> bool:
    print("+", "python", *arguments, flush=True)
    return subprocess.run([PYTHON, *arguments], cwd=ROOT, check=False).returncode == 0


def check() -> None:
    """Hold the source against the project's own rules."""
    run(PYTHON, "-m", "ruff", "format", "--check", ".")
    run(PYTHON, "-m", "ruff", "check", ".")
    run(PYTHON, "-m", "mypy")
    run(BIN / "lint-imports")


def main(arguments: list[str]) -> None:
    """Do what the first argument names."""
    if sys.version_info < (3, 11):  # noqa: UP036 - the script itself must say so
        sys.exit(f"fringemap needs Python 3.11 or newer; this is {sys.version.split()[0]}")
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if command not in {"demo", "run", "check", "test", "fix", "lock"}:
        sys.exit(USAGE)
    uses = command in {"demo", "run"} and not TRAINING & set(rest[:1])
    install(USE if uses else WORK)
    if command == "demo":
        run(PYTHON, "-m", "fringemap", "demo", *rest)
    elif command == "run":
        run(PYTHON, "-m", "fringemap", *rest, quiet=True)
    elif command == "fix":
        run(PYTHON, "-m", "ruff", "format", ".")
        run(PYTHON, "-m", "ruff", "check", "--fix", ".")
    elif command == "lock":
        flags = "--all-extras --universal --no-annotate --no-header --no-emit-index-url --no-emit-find-links"
        run(
            PYTHON,
            "-m",
            "uv",
            "pip",
            "compile",
            "-q",
            *flags.split(),
            "pyproject.toml",
            "-o",
            "constraints.txt",
        )
    else:
        check()
        if command == "test":
            offer_browser()
            run(PYTHON, "-m", "pytest", "-n", "2", *rest, env=SINGLE_THREAD)


if __name__ == "__main__":
    main(sys.argv[1:])
