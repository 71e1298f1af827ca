"""The page in a real browser, worked with real keys and clicks."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from speechquant.report import TranscriptRow, audio_uri, render

EVIL = "</script><img src=x onerror=\"document.title='taken'\">&amp;"
SIDEWAYS = "[innerWidth, document.documentElement.scrollWidth, document.body.scrollWidth]"


@pytest.fixture(scope="module")
def html(report_data):
    return render(report_data)


@pytest.fixture
def visit(browser, tmp_path):
    def show(html, **settings):
        page = tmp_path / "page.html"
        page.write_text(html, encoding="utf-8")
        browser.open(page.as_uri(), **settings)
        return browser

    return show


def many(count):
    """Utterances of which every fifth is worse, every seventh better and the others stay."""
    rng, words = Random(3), ("the", "of", "and", "a", "to", "in", "he", "was", "that", "it")
    rows = []
    for i in range(count):
        text = rng.choices(words, k=12)
        before, after = list(text), list(text)
        if i % 5 == 0:
            after[3] = f"wrong{i}"
        if i % 7 == 0:
            before[8] = "gone"
        rows.append(TranscriptRow(f"utt-{i:05d}", " ".join(text), " ".join(before), " ".join(after)))
    return tuple(rows)


def ids(page):
    return page.js("[...document.querySelectorAll('#utterances .utterance')].map((e) => e.dataset.id)")


def choose_filter(page, name):
    page.click(f"#controls input[value={name}]")
    return page.js("document.getElementById('found').textContent")


def test_the_driver_sees_requests_and_console_messages(visit):
    page = visit(
        '<!doctype html><img src="http://example.invalid/x.png"><script>console.error("boom")</script>'
    )
    assert any("boom" in line for line in page.console)
    assert "http://example.invalid/x.png" in page.requests


def test_no_console_message_and_no_request(visit, html):
    page = visit(html)
    page.press("Tab", 3)
    assert page.console == []
    assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []
    assert page.js("document.documentElement.lang") == "en"


def test_the_policy_stops_foreign_scripts_and_images(visit, html):
    attack = '<img src="http://example.invalid/x.png"><script>document.title = "taken"</script></body>'
    page = visit(html.replace("</body>", attack))
    assert page.js("document.title") == "Moonshine tiny in 8 bits"
    assert not any("example.invalid" in url for url in page.requests)
    assert len(page.console) >= 2


@pytest.mark.parametrize(("system", "other"), [("light", "dark"), ("dark", "light")])
def test_theme_follows_the_system_and_the_button(visit, html, system, other):
    page = visit(html, prefers_color_scheme=system)
    brightness = "Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"

    def seen():
        return "light" if page.js(brightness) > 127 else "dark"

    assert seen() == system
    page.click("#theme")
    assert seen() == other
    page.press("Enter")
    assert seen() == system


@pytest.mark.parametrize(("width", "shown"), [(390, "narrow"), (320, "narrow"), (1100, "wide")])
def test_the_page_never_scrolls_sideways(visit, html, width, shown):
    page = visit(html, width=width)
    choose_filter(page, "all")
    page.js("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.settle()
    window, content, body = page.js(SIDEWAYS)
    assert window == width
    assert max(content, body) <= width
    for name in ("wide", "narrow"):
        visible = page.js(f"[...document.querySelectorAll('.{name}')].every((e) => e.offsetWidth > 0)")
        assert visible == (name == shown)


def chosen(page):
    """The selected tab, the visible panels' titles and what has the focus."""
    return page.js("""(() => [
      document.querySelector("[role=tab][aria-selected=true] .name").textContent,
      [...document.querySelectorAll("[role=tabpanel]")].filter((p) => p.offsetHeight)
        .map((p) => p.querySelector("h3").firstChild.textContent.trim()),
      document.activeElement.matches("[role=tab]") ? document.activeElement.querySelector(".name").textContent : null,
    ])()""")


def test_layers_are_chosen_by_click_and_by_keyboard(visit, html, report_data):
    names = [layer.layer for layer in report_data.layers]
    page = visit(html)
    assert chosen(page) == ["conv.0", ["conv.0"], None]
    page.click("#tab-6")
    assert chosen(page)[:2] == ["encoder.1", ["encoder.1"]]
    for key, expected in (
        ("ArrowDown", "encoder.2"), ("ArrowUp", "encoder.1"), ("End", names[-1]), ("ArrowDown", names[0]),
        ("ArrowUp", names[-1]), ("Home", names[0]), ("ArrowRight", names[1]), ("ArrowLeft", names[0]),
    ):  # fmt: skip
        page.press(key)
        assert chosen(page) == [expected, [expected], expected], key
    assert page.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    # One stop for all tabs: the next one is the panel.
    page.press("Tab")
    assert page.js("document.activeElement.id") == "layer-1"


def test_filters_count_and_show_what_they_say(visit, report_data):
    rows = many(140)
    page = visit(render(replace(report_data, transcripts=rows, normalizer="none")))
    expected = {
        "all": set(range(140)),
        "changed": {i for i in range(140) if i % 5 == 0 or i % 7 == 0},
        "worse": {i for i in range(140) if i % 5 == 0 and i % 7},
        "better": {i for i in range(140) if i % 7 == 0 and i % 5},
    }
    assert page.js("document.querySelector('#controls input:checked').value") == "changed"
    for name, wanted in expected.items():
        assert choose_filter(page, name) == f"{len(wanted)} of 140 utterances"
        label = page.js(f"document.querySelector('input[value={name}]').parentNode.innerText")
        assert label.split() == [name, str(len(wanted))]
        while page.js("!document.getElementById('more').hidden"):
            page.click("#more")
        assert {int(id_[4:]) for id_ in ids(page)} == wanted
        assert len(ids(page)) == len(wanted)


def test_filters_work_with_the_arrow_keys(visit, html):
    page = visit(html)
    page.js("document.querySelector('#controls input:checked').focus()")
    page.press("ArrowRight")
    assert page.js("document.querySelector('#controls input:checked').value") == "worse"
    assert page.js("document.getElementById('found').textContent") == "2 of 3 utterances"


def test_sorting_puts_the_worst_first_and_search_finds_words_and_names(visit, html):
    page = visit(html)
    choose_filter(page, "all")
    assert ids(page) == ["7312-92432-0014", "32-4137-0002", "32-21631-0007"]
    page.js("document.getElementById('sort').focus()")
    page.press("ArrowDown", 2)
    assert page.js("document.getElementById('sort').value") == "order"
    assert ids(page) == ["32-4137-0002", "7312-92432-0014", "32-21631-0007"]
    page.click("#search")
    for letter in "CARRIAGE":
        page.press(letter)
    assert ids(page) == ["32-4137-0002"]
    page.js("document.getElementById('search').value = ''")
    for letter in "21631":
        page.press(letter)
    assert ids(page) == ["32-21631-0007"]


def test_thousands_of_utterances_are_built_only_as_far_as_they_are_looked_at(visit, report_data):
    page = visit(render(replace(report_data, transcripts=many(4000), normalizer="none")))
    assert choose_filter(page, "all") == "4,000 of 4,000 utterances"
    assert len(ids(page)) == 20
    assert page.js("document.getElementById('more').textContent") == "Show 20 more of 3,980"
    page.js("document.getElementById('more').focus()")
    page.press("Enter")
    assert len(ids(page)) == 40
    assert page.js("document.activeElement.dataset.id") == ids(page)[20]
    assert page.js("document.getElementsByTagName('*').length") < 10_000
    page.click("#search")
    for letter in "wrong3995":
        page.press(letter)
    assert ids(page) == ["utt-03995"]


def test_errors_are_marked_by_shape_and_told_to_screen_readers(visit, html):
    page = visit(html)
    lines = page.js("""[...document.querySelector("[data-id='7312-92432-0014']").querySelectorAll("tr")]
      .map((row) => [row.className, [...row.querySelectorAll(".w")].map((w) => [w.className, w.textContent])])""")
    assert [line for line in lines if line[1]] == [
        ["q", [
            ["w ins diff", "too much: +sky"], ["w sub diff", "wrong: lark"], ["w del diff", "missing\N{EN DASH}"],
        ]],
    ]  # fmt: skip
    underlined = "getComputedStyle(document.querySelector('#utterances .w.sub')).textDecorationLine"
    assert page.js(underlined) == "underline"


@pytest.mark.parametrize("width", [390, 1100])
def test_words_stand_below_each_other(visit, html, width):
    page = visit(html, width=width)
    lefts = page.js("""[...document.querySelectorAll("#utterances table")].map((table) =>
      [...table.rows].map((row) => [...row.cells].map((cell) => Math.round(cell.getBoundingClientRect().left))))""")
    assert lefts
    for table in lefts:
        assert all(row == table[0] for row in table)
    overflow = "[...document.querySelectorAll('.lines')].some((e) => e.scrollWidth > e.clientWidth)"
    assert page.js(overflow) is False


def test_texts_and_names_of_users_stay_texts(visit, report_data):
    rows = (TranscriptRow(EVIL, f"a {EVIL}", f"a {EVIL}", f"b {EVIL}", EVIL),)
    page = visit(render(replace(report_data, transcripts=rows, normalizer="none", title=EVIL)))
    page.js("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.js("document.title") == EVIL
    assert page.js("document.querySelector('.utterance').dataset.id") == EVIL
    assert EVIL in page.js("document.querySelector('.utterance').innerText")
    assert page.js("document.images.length") == 0
    assert page.console == []


def test_recordings_play(visit, report_data):
    tone = (0.2 * np.sin(np.arange(16_000) / 6)).astype(np.float32)
    data = replace(report_data, recordings={"32-4137-0002": audio_uri(tone, 16_000)})
    page = visit(render(data))
    assert page.js("[...document.querySelectorAll('audio')].map((a) => a.closest('article').dataset.id)") == [
        "32-4137-0002"
    ]
    length = """new Promise((done, fail) => {
      const player = document.querySelector("audio");
      player.addEventListener("loadedmetadata", () => done(player.duration));
      player.addEventListener("error", () => fail(new Error(player.error.message)));
      player.load();
      player.preload = "metadata";
    })"""
    assert page.js(length) == pytest.approx(1.0, abs=0.2)
    assert (
        page.js("document.querySelector('audio').getAttribute('aria-label')") == "Recording of 32-4137-0002"
    )
    assert page.console == []


def test_print_shows_the_clipped_layers_on_white_and_nothing_to_click(visit, html):
    page = visit(html, prefers_color_scheme="dark")
    page.click("#theme")
    page.click("#theme")
    page.media("print")
    page.settle()
    shown = page.js("[...document.querySelectorAll('[role=tabpanel]')].filter((p) => p.offsetHeight).length")
    assert shown == 3
    ink = page.js("getComputedStyle(document.body).color.match(/\\d+/g).map(Number)")
    assert max(ink) < 80
    for selector in ("#theme", "nav", "#controls"):
        assert page.js(f"document.querySelector('{selector}').offsetHeight") == 0
    page.media()


def test_print_has_a_hundred_utterances_in_lines_of_a_sheet_and_the_page_stays_as_it_was(
    visit, report_data, tmp_path
):
    page = visit(render(replace(report_data, transcripts=many(140), normalizer="none")), width=390)
    choose_filter(page, "all")
    page.click("#more")
    widest = (
        "Math.max(...[...document.querySelectorAll('#utterances tr.r')].map((row) => row.innerText.length))"
    )
    shown, before = ids(page), page.js(widest)
    assert len(shown) == 40
    # Listeners that come later are called later: they see what the page made of the event.
    page.js(f"""for (const event of ["beforeprint", "afterprint"]) addEventListener(event, () => {{
      window[event] = [document.querySelectorAll("#utterances article").length, {widest}];
    }})""")
    page.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    printed, wide = page.js("window.beforeprint")
    assert printed == 100
    assert before < 45 < wide <= 84 + len("ref") + 20
    assert page.js("window.afterprint[0]") == 40
    assert ids(page) == shown
    assert page.js(widest) == before


def test_every_control_has_a_name(visit, html):
    page = visit(html)
    names = page.call("Accessibility.getFullAXTree")["nodes"]
    wanted = {
        "button",
        "tab",
        "tabpanel",
        "radio",
        "searchbox",
        "combobox",
        "link",
        "image",
        "table",
        "region",
    }
    roles = {}
    for node in names:
        role = node.get("role", {}).get("value")
        if role in wanted and not node.get("ignored"):
            roles.setdefault(role, []).append(node.get("name", {}).get("value", ""))
    assert {
        "button",
        "tab",
        "tabpanel",
        "radio",
        "searchbox",
        "combobox",
        "link",
        "image",
        "table",
    } <= roles.keys()
    for role, found in roles.items():
        assert all(found), (role, json.dumps(found))
