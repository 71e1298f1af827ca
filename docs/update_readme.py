"""Fill the README's demo block and picture from a finished run, so that nobody copies figures by hand.

    mkdir -p build && make demo | tee build/demo.log
    python docs/update_readme.py build/demo build/demo.log

The first argument is the artifact, the second what the run printed. The picture is skipped without Chromium.
"""  # noqa: INP001 - a script

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- demo-output -->", "<!-- /demo-output -->"
CHROMIUM = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--blink-settings=preferredColorScheme=1",
)


def summary(log: str, folder: Path) -> tuple[str, str]:
    """The last screen of a run and its transcripts, the artifact called `build/demo` as in the README."""
    lines = [line.rstrip() for line in log.splitlines()]
    first = max(index for index, line in enumerate(lines) if " on the test set, " in line)
    last = max(index for index, line in enumerate(lines) if line.startswith("report: "))
    text = re.sub(r"\n\n+", "\n\n", "\n".join(lines[first : last + 1])).replace(str(folder), "build/demo")
    paragraphs = text.split("\n\n")
    told = [part for part in paragraphs if "\n  reference  " in part]
    screen = [part for part in paragraphs if part not in told]
    return "\n\n".join(screen), "\n\n".join(told)


def machine() -> str:
    """The processor of this computer, on which the demo ran."""
    try:
        found = re.search(
            r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE
        )
    except OSError:
        found = None
    return f"{os.cpu_count()} cores" + (f" of an {found[1]}" if found else "")


def block(log: str, folder: Path) -> str:
    """The Markdown between the marks."""
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    screen, told = summary(log, folder)
    versions = ", ".join(f"{name} {metrics['versions'][name]}" for name in ("onnxruntime", "torch"))
    minutes = sum(metrics["seconds"].values()) / 60
    caption = (
        f"{machine()}, {versions}. Calibration, search, export and evaluation took {minutes:.1f} minutes, "
        f"peak memory {metrics['peak_rss_mb'] / 1000:.1f} GB."
    )
    fold = f"<details><summary>Three transcripts, before and after</summary>\n\n```text\n{told}\n```\n\n</details>"
    return f"{BEGIN}\n```text\n{screen}\n```\n\n{caption}\n\n{fold}\n{END}"


def replace_block(text: str, new: str) -> str:
    """`text` with everything from the first mark to the second replaced."""
    head, rest = text.split(BEGIN)
    return head + new + rest.split(END)[1]


def picture(report: Path, target: Path) -> None:
    """The top of the report page as it looks in the light theme."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        return
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, *CHROMIUM, f"--user-data-dir={profile}", "--window-size=1100,830"]
        command += [f"--screenshot={target}", report.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)  # noqa: S603 - our own command


def main() -> None:
    """Read the run, write the README and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artifact", type=Path)
    parser.add_argument("log", type=Path)
    given = parser.parse_args()
    readme = ROOT / "README.md"
    new = block(given.log.read_text(encoding="utf-8"), given.artifact)
    readme.write_text(replace_block(readme.read_text(encoding="utf-8"), new), encoding="utf-8")
    picture(given.artifact / "report.html", ROOT / "docs" / "images" / "report.png")


if __name__ == "__main__":
    main()
