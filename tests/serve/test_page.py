"""The web page in headless Chromium."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from tests.support.joined import write_joined
from tests.support.servers import Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("Chromium is not installed (Debian: apt install chromium)", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, expect  # noqa: E402

from tests.support.limits import TIMEOUT  # noqa: E402


@pytest.fixture(scope="module")
def browser(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium with a fake microphone that plays the sample in a loop."""
    microphone = tmp_path_factory.mktemp("microphone") / "microphone.wav"
    samples, rate = soundfile.read(sample, dtype="float32")
    soundfile.write(microphone, samples, rate, "PCM_16")
    options = [
        "--no-sandbox",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}",
        "--autoplay-policy=no-user-gesture-required",
    ]
    with playwright.sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=CHROMIUM, args=options)


@pytest.fixture
def page(server: Server, browser: Browser) -> Iterator[Page]:
    """The opened page; fails on script errors and requests to other hosts."""
    context = browser.new_context(permissions=["microphone"])
    opened = context.new_page()
    opened.set_default_timeout(1000 * TIMEOUT)
    expect.set_options(timeout=1000 * TIMEOUT)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    own = (server.url, f"blob:{server.url}", "data:")
    opened.on("request", lambda r: None if r.url.startswith(own) else errors.append(r.url))
    opened.goto(server.url)
    expect(opened.locator("#speech-model option")).to_have_count(1)
    yield opened
    context.close()
    assert errors == []


def test_a_file_is_transcribed_with_playable_words_and_downloads(
    page: Page, sample: Path, reference: str, tmp_path: Path
) -> None:
    page.set_input_files("#file", sample)
    words = page.locator("#transcript .word")
    expect(words).to_have_text(reference.split())
    words.nth(2).click()
    assert page.evaluate("document.getElementById('player').currentTime") >= 1.2
    expect(page.locator("#attention-status")).to_have_text("0:00 to 0:04")
    expect(page.locator("#canvas")).to_have_attribute("aria-label", re.compile(reference))
    for suffix, begins in (
        ("txt", reference),
        ("srt", "1\n00:00"),
        ("vtt", "WEBVTT"),
        ("json", "{"),
    ):
        with page.expect_download() as saved:
            page.get_by_role("button", name=f"Download {suffix}").click()
        assert saved.value.suggested_filename == f"digits.{suffix}"
        saved.value.save_as(tmp_path / suffix)
        assert (tmp_path / suffix).read_text().startswith(begins)


def test_words_can_be_focused_and_played_by_keyboard(
    page: Page, sample: Path, reference: str
) -> None:
    page.set_input_files("#file", sample)
    words = page.locator("#transcript .word")
    expect(words).to_have_count(len(reference.split()))
    words.first.focus()
    for key in ("ArrowRight", "ArrowRight", "End", "ArrowLeft"):
        page.keyboard.press(key)
    expect(words.nth(4)).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.getElementById('player').currentTime") >= 2.5
    assert page.locator("#transcript .word[tabindex='0']").count() == 1


def test_each_segment_of_a_long_recording_has_its_attention_picture(
    page: Page, sample: Path, tmp_path: Path
) -> None:
    path = tmp_path / "long.wav"
    write_joined(path, sample, times=6)
    page.set_input_files("#file", path)
    expect(page.locator("#downloads button")).to_have_count(4)
    times = page.locator("#transcript .segment > button")
    assert times.count() > 1
    times.nth(1).click()
    expect(times.nth(1)).to_have_attribute("aria-current", "true")
    start = times.nth(1).inner_text()
    expect(page.locator("#attention-status")).to_contain_text(f"{start} to ")


def test_microphone_input_is_transcribed(page: Page) -> None:
    button = page.locator("#record")
    button.click()
    expect(button).to_contain_text("Stop 0:03")
    button.click()
    expect(page.locator("#transcript .word").first).to_be_visible()
    expect(page.locator("#speech-status")).to_contain_text("recording.webm")


def test_live_words_appear_while_one_speaks(page: Page) -> None:
    pytest.importorskip("websockets", reason="the extra asr-s2s[serve] is not installed")
    button = page.locator("#live")
    button.click()
    expect(page.locator("#live-text .committed").first).not_to_be_empty()
    button.click()
    expect(button).to_have_text("Live")
    expect(button).to_be_enabled()
    expect(page.locator("#live-text .tentative").first).to_be_empty()


def test_a_file_that_is_not_audio_shows_an_error_and_the_next_file_works(
    page: Page, sample: Path, reference: str, tmp_path: Path
) -> None:
    bad = tmp_path / "notes.wav"
    bad.write_text("milk, bread and eggs")
    page.set_input_files("#file", bad)
    error = page.get_by_role("alert").filter(visible=True)
    expect(error).to_contain_text("notes.wav: is a text file, not audio")
    page.set_input_files("#file", sample)
    expect(page.locator("#transcript .word")).to_have_text(reference.split())
    expect(error).to_have_count(0)


def test_text_is_translated_and_its_alignment_shown(page: Page) -> None:
    page.get_by_role("tab", name="Speech").focus()
    page.keyboard.press("ArrowRight")
    page.locator("#source").fill("Two dogs are playing.\nChildren eat ice cream.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#lines li")).to_have_count(2)
    assert "Hunde" in page.locator("#lines .target").first.inner_text()
    expect(page.locator("#grid thead th")).to_contain_text(["", "Two", "dogs"])
    page.locator("#lines button").nth(1).click()
    expect(page.locator("#grid thead th")).to_contain_text(["", "Children", "eat"])


def fits(page: Page) -> bool:
    """Whether the page can be read without scrolling sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_every_tab_and_the_api_fit_a_phone(page: Page, sample: Path, server: Server) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    assert fits(page)
    page.set_input_files("#file", sample)
    expect(page.locator("#attention-status")).to_have_text("0:00 to 0:04")
    assert fits(page)
    page.get_by_role("tab", name="Text").click()
    page.locator("#source").fill("Two dogs are playing in the snow.\n" + "Donaudampfschiff" * 9)
    page.locator("#translate").click()
    expect(page.locator("#lines li")).to_have_count(2)
    expect(page.locator("#grid thead th").nth(1)).to_be_visible()
    assert fits(page)
    page.goto(f"{server.url}/docs")
    expect(page.locator(".operation summary").first).to_be_visible()  # they are made by a script
    for operation in page.locator(".operation summary").all():
        operation.click()
    expect(page.locator(".operation form").first).to_be_visible()
    assert fits(page)


def test_only_the_least_sure_words_are_marked(page: Page, sample: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    write_joined(path, sample, times=6)
    page.set_input_files("#file", path)
    expect(page.locator("#downloads button")).to_have_count(4)
    words, marked = page.locator("#transcript .word"), page.locator("#transcript .doubtful")
    assert 10 * marked.count() <= words.count() + 9


def test_the_word_being_played_is_highlighted(page: Page, sample: Path) -> None:
    page.set_input_files("#file", sample)
    words = page.locator("#transcript .word")
    expect(words.first).to_be_visible()
    words.first.click()
    for index in (1, 2):  # the player goes on by itself
        expect(words.nth(index)).to_have_class(re.compile(r"\bnow\b"))
    expect(page.locator("#transcript .now")).to_have_count(1)


def test_a_transcript_is_copied_and_stays_until_the_next_one(
    page: Page, sample: Path, reference: str, tmp_path: Path
) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.set_input_files("#file", sample)
    page.locator("#copy").click()
    expect(page.locator("#copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == reference
    bad = tmp_path / "notes.wav"
    bad.write_text("milk, bread and eggs")
    page.set_input_files("#file", bad)
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("notes.wav")
    expect(page.locator("#transcript .word")).to_have_text(reference.split())
    expect(page.locator("#speech-status")).to_contain_text("digits.wav")


def test_progress_is_shown_in_percent(page: Page, sample: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    write_joined(path, sample, times=20)
    page.evaluate(
        """() => {
            window.seen = [];
            new MutationObserver(() => {
                window.seen.push(document.getElementById("speech-status").textContent);
            }).observe(document.getElementById("speech-status"), { childList: true });
        }"""
    )
    page.set_input_files("#file", path)
    expect(page.locator("#downloads button")).to_have_count(4)
    percents = [
        int(found[1])
        for text in page.evaluate("window.seen")
        if (found := re.search(r": (\d+) %", text))
    ]
    assert len(percents) > 1
    assert percents == sorted(percents)
    assert percents[-1] > 90


def test_the_api_can_be_tried_in_the_browser(
    page: Page, server: Server, sample: Path, reference: str
) -> None:
    page.goto(f"{server.url}/docs")
    operation = page.locator(".operation").filter(has_text="POST /v1/audio/transcriptions")
    operation.locator("summary").click()
    operation.locator("input[name=file]").set_input_files(sample)
    operation.get_by_role("button", name="Send").click()
    expect(operation.locator("pre")).to_contain_text("200 OK")
    expect(operation.locator("pre")).to_contain_text(reference)
    operation = page.locator(".operation").filter(has_text="GET /v1/models/{model}")
    operation.locator("summary").click()
    operation.locator("input[name=model]").fill("nothing")
    operation.get_by_role("button", name="Send").click()
    expect(operation.locator("pre")).to_contain_text("404")
