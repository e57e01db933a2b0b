"""The archive to publish: `python -m companion.publishing.release`, or `make release`.

What the last commit holds, as a source archive that runs without git, and its checksum beside it.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from companion.core.command_line import names_given
from companion.core.errors import Refusal
from companion.core.files import sha256, write_atomic
from companion.core.paths import find_root


def release(root: Path) -> Path:
    """Write dist/<name>-<version>.tar.gz and dist/SHA256SUMS; returns the archive."""
    if not (root / ".git").exists():
        raise Refusal("A release is made from a git clone: this tree is an archive already.")
    if changes := _git(root, "status", "--porcelain", "--untracked-files=no"):
        raise Refusal(f"A release holds what is committed, and {len(changes.splitlines())} files differ: commit them.")
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name = f"{project['name']}-{project['version']}"
    archive = root / "dist" / f"{name}.tar.gz"
    archive.parent.mkdir(exist_ok=True)
    # .gitattributes has .dvc/config expanded on the way, so that DVC asks for no git in the unpacked tree.
    _git(root, "archive", "--format=tar.gz", f"--prefix={name}/", f"--output={archive}", "HEAD")
    write_atomic(archive.parent / "SHA256SUMS", f"{sha256(archive)}  {archive.name}\n")
    return archive


def _git(root: Path, *arguments: str) -> str:
    answer = subprocess.run(["git", "-C", str(root), *arguments], check=False, capture_output=True, text=True)
    if answer.returncode:
        raise Refusal(f"git {arguments[0]} failed: {' '.join(answer.stderr.split())}")
    return answer.stdout


def main() -> None:
    """The command line."""
    names_given(__doc__)
    try:
        archive = release(find_root())
        print(f"dist/{archive.name}: {archive.stat().st_size / 1e6:.1f} MB; check it with sha256sum -c SHA256SUMS")
    except Refusal as refusal:
        sys.exit(f"release: {refusal}")


if __name__ == "__main__":
    main()
