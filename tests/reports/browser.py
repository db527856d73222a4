"""Runs a page in a real browser, and returns what a script found there."""

import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NEEDS_BROWSER = pytest.mark.skipif(
    CHROMIUM is None, reason="needs chromium to run the page's script"
)
WATCH = "<head><script>window.failures = 0; onerror = () => { failures += 1; };</script>"


def found_in(page: str, probe: str, width: int, folder: Path) -> list[str]:
    """What the probe's script pushed to `said`, and the number of errors.

    Nothing may have been written to the browser's console.

    Args:
        page: HTML.
        probe: JavaScript that runs at the page's end.
        width: Of the window, in pixels.
        folder: For the browser's files.
    """
    script = (
        f"<script>const said = [];\n{probe}\n"
        "said.push(`errors ${failures}`);\n"
        'parent.document.title = said.join("; ");</script></body>'
    )
    page = page.replace("<head>", WATCH, 1).replace("</body>", script)
    probed = folder / "probed.html"
    # Headless windows are not narrower than 500 pixels; a frame is.
    frame = f'<iframe style="border:0;width:{width}px;height:800px" srcdoc="{escape(page)}">'
    probed.write_text(f"<title>none</title>{frame}</iframe>", "utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [str(CHROMIUM), *options, profile, "--dump-dom", f"file://{probed}"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "CONSOLE" not in result.stderr, result.stderr
    title = re.search(r"<title>(.*?)</title>", result.stdout)
    assert title, result.stdout[:500]
    return unescape(title.group(1)).replace("\u00a0", " ").split("; ")
