"""The page in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import pytest

from speechquant.report import render

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    # Nothing leaves the machine, whatever a page or the browser itself asks for.
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr", "--v=0", "--dump-dom",
)  # fmt: skip
DARK = "--blink-settings=preferredColorScheme=0"
LIGHT = "--blink-settings=preferredColorScheme=1"


@dataclass(frozen=True)
class Visit:
    dom: str
    console: list[str]
    requests: list[str]

    def probe(self, name: str) -> str:
        return re.search(rf'data-{name}="([^"]*)"', self.dom)[1]


@pytest.fixture
def visit(tmp_path):
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("chromium is not on PATH; on Debian and Ubuntu: apt-get install chromium")

    def open_page(html: str, *flags: str) -> Visit:
        page, log = tmp_path / "page.html", tmp_path / "net.json"
        page.write_text(html, encoding="utf-8")
        command = [
            chromium,
            *FLAGS,
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--log-net-log={log}",
            *flags,
        ]
        done = subprocess.run(
            [*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True
        )
        return Visit(done.stdout, re.findall(r":CONSOLE.*", done.stderr), requests_of_the_page(log))

    return open_page


def requests_of_the_page(log: Path) -> list[str]:
    """Requests that a document started; the browser's own have "not an origin" as their initiator."""
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    found = [event["params"] for event in events if "initiator" in event.get("params", {})]
    return [params["url"] for params in found if params["initiator"] != "not an origin"]


def instrumented(html: str, script: str) -> str:
    """The page without its security policy and with a script of the test at its end."""
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    return html.replace("</body>", f"<script>{script}</script></body>")


@pytest.fixture(scope="module")
def html(report_data):
    return render(report_data)


def test_the_checks_below_see_requests_and_console_messages(visit):
    bad = visit(
        '<!doctype html><img src="http://example.invalid/x.png"><script>console.error("boom")</script>'
    )
    assert any("boom" in line for line in bad.console)
    assert bad.requests == ["http://example.invalid/x.png"]


def test_no_console_message_and_no_request(visit, html):
    seen = visit(html)
    assert seen.console == []
    assert seen.requests == []
    assert "Moonshine tiny in 8 bits" in seen.dom


def test_the_policy_stops_foreign_scripts_and_images(visit, html):
    attack = '<img src="http://example.invalid/x.png"><script>document.title = "taken over"</script></body>'
    seen = visit(html.replace("</body>", attack))
    assert "<title>Moonshine tiny in 8 bits</title>" in seen.dom
    assert seen.requests == []
    assert len(seen.console) >= 2


@pytest.mark.parametrize(("flag", "clicked"), [(LIGHT, "dark"), (DARK, "light")])
def test_theme_follows_the_system_and_the_button(visit, html, flag, clicked):
    script = """
      const root = document.documentElement, button = document.getElementById("theme");
      const red = () => getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0];
      const light = () => red() > 127 ? "light" : "dark";
      root.dataset.before = light();
      root.dataset.shown = !button.hidden;
      button.click();
      root.dataset.after = light();
    """
    seen = visit(instrumented(html, script), flag)
    assert seen.probe("shown") == "true"
    assert (seen.probe("before"), seen.probe("after")) == (
        {"dark": "light", "light": "dark"}[clicked],
        clicked,
    )


@pytest.mark.parametrize(("width", "shown"), [(390, "narrow"), (1100, "wide")])
def test_the_page_never_scrolls_sideways(visit, html, width, shown):
    script = """
      document.querySelectorAll("details").forEach((d) => { d.open = true; });
      const visible = (name) => [...document.querySelectorAll("." + name)].every((e) => e.offsetWidth > 0);
      const data = parent.document.documentElement.dataset;
      data.window = innerWidth;
      data.content = document.documentElement.scrollWidth;
      data.shown = ["wide", "narrow"].filter(visible).join();
    """
    # No window of a browser is as narrow as a phone; a frame is.
    page = escape(instrumented(html, script))
    seen = visit(
        f'<!doctype html><iframe width="{width}" height="900" frameborder="0" srcdoc="{page}"></iframe>'
    )
    assert int(seen.probe("window")) == width
    assert int(seen.probe("content")) <= width
    assert seen.probe("shown") == shown
