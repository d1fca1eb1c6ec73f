"""The page in a real browser: Debian's Chromium, without a screen."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from joined import write_joined
from servers import Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("Chromium is not installed (Debian: apt install chromium)", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, expect  # noqa: E402


@pytest.fixture(scope="module")
def browser(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Its microphone hears the sample over and over."""
    heard = tmp_path_factory.mktemp("microphone") / "heard.wav"
    samples, rate = soundfile.read(sample, dtype="float32")
    soundfile.write(heard, samples, rate, "PCM_16")
    options = [
        "--no-sandbox",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={heard}",
        "--autoplay-policy=no-user-gesture-required",
    ]
    with playwright.sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=CHROMIUM, args=options)


@pytest.fixture
def page(server: Server, browser: Browser) -> Iterator[Page]:
    """The page, opened; it may neither fail nor ask another host."""
    context = browser.new_context(permissions=["microphone"])
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    own = (server.url, f"blob:{server.url}", "data:")
    opened.on("request", lambda r: None if r.url.startswith(own) else errors.append(r.url))
    opened.goto(server.url)
    expect(opened.locator("#speech-model option")).to_have_count(1)
    yield opened
    context.close()
    assert errors == []


def test_a_file_becomes_words_that_play_and_files_to_keep(
    page: Page, sample: Path, said: str, tmp_path: Path
) -> None:
    page.set_input_files("#file", sample)
    words = page.locator("#transcript .word")
    expect(words).to_have_text(said.split())
    words.nth(2).click()
    assert page.evaluate("document.getElementById('player').currentTime") >= 1.2
    expect(page.locator("#attention-status")).to_have_text("0:00 to 0:04")
    expect(page.locator("#canvas")).to_have_attribute("aria-label", re.compile(said))
    for suffix, begins in (("txt", said), ("srt", "1\n00:00"), ("vtt", "WEBVTT"), ("json", "{")):
        with page.expect_download() as saved:
            page.get_by_role("button", name=f"Download {suffix}").click()
        assert saved.value.suggested_filename == f"digits.{suffix}"
        saved.value.save_as(tmp_path / suffix)
        assert (tmp_path / suffix).read_text().startswith(begins)


def test_words_are_reached_and_played_by_keys_alone(page: Page, sample: Path, said: str) -> None:
    page.set_input_files("#file", sample)
    words = page.locator("#transcript .word")
    expect(words).to_have_count(len(said.split()))
    words.first.focus()
    for key in ("ArrowRight", "ArrowRight", "End", "ArrowLeft"):
        page.keyboard.press(key)
    expect(words.nth(4)).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.getElementById('player').currentTime") >= 2.5
    assert page.locator("#transcript .word[tabindex='0']").count() == 1


def test_segments_of_a_long_recording_have_pictures_of_their_own(
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


def test_what_is_said_into_the_microphone_is_transcribed(page: Page) -> None:
    button = page.locator("#record")
    button.click()
    expect(button).to_contain_text("Stop 0:03")
    button.click()
    expect(page.locator("#transcript .word").first).to_be_visible()
    expect(page.locator("#speech-status")).to_contain_text("recording.webm")


def test_a_file_that_is_no_recording_is_told_and_the_next_one_works(
    page: Page, sample: Path, said: str, tmp_path: Path
) -> None:
    bad = tmp_path / "notes.wav"
    bad.write_text("milk, bread and eggs")
    page.set_input_files("#file", bad)
    error = page.get_by_role("alert").filter(visible=True)
    expect(error).to_contain_text("notes.wav: is a text file, not audio")
    page.set_input_files("#file", sample)
    expect(page.locator("#transcript .word")).to_have_text(said.split())
    expect(error).to_have_count(0)


def test_text_is_translated_with_its_alignment(page: Page) -> None:
    page.get_by_role("tab", name="Speech").focus()
    page.keyboard.press("ArrowRight")
    page.locator("#source").fill("Two dogs are playing.\nChildren eat ice cream.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#lines li")).to_have_count(2)
    assert "Hunde" in page.locator("#lines .target").first.inner_text()
    expect(page.locator("#grid thead th")).to_contain_text(["", "Two", "dogs"])
    page.locator("#lines button").nth(1).click()
    expect(page.locator("#grid thead th")).to_contain_text(["", "Children", "eat"])
