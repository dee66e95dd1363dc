"""Takes the pictures in `docs/img` with Chromium: `python -m benchmarks.screenshots`.

Chromium is a package of the system (`apt-get install chromium`); Playwright only drives it.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

import server
from pipeline.examples import load_examples
from pipeline.render import result_html
from pipeline.scorer import Scorer
from pipeline.settings import Settings

OUT = Path(__file__).parent.parent / "docs" / "img"
NEURON = load_examples()[1]

# The switches keep it from asking for anything outside the page.
_SWITCHES = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


def find_chromium() -> str | None:
    """The system's Chromium, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=_SWITCHES)
        try:
            yield browser
        finally:
            browser.close()


def settled(page: Page) -> None:
    """Wait until the score that was asked for is shown."""
    page.locator("html.js #answer:not([aria-busy])").wait_for(state="attached", timeout=60_000)


def main() -> None:
    """Take them all."""
    OUT.mkdir(parents=True, exist_ok=True)
    settings = Settings(port=0)
    with Scorer(settings) as scorer, chromium() as browser:
        bound = server.bind(server.create_app(scorer, settings), settings)
        threading.Thread(target=bound.run, daemon=True).start()
        url = f"http://127.0.0.1:{bound.effective_port}/?example=" + NEURON.name.replace("+", "%2B")
        _take(browser, url, "page", width=1280, height=900)
        _take(browser, url, "page-dark", width=1280, height=900, dark=True)
        _take(browser, url, "page-narrow", width=400, height=1600)
        _take(browser, url, "page-compare", width=1280, height=900, explanations=4)
        _notebook(browser, scorer)


def _take(
    browser: Browser,
    url: str,
    name: str,
    *,
    width: int,
    height: int,
    dark: bool = False,
    explanations: int = 1,
) -> None:
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
    )
    page.goto(url)
    settled(page)
    for index in range(1, explanations):
        page.get_by_label("Another explanation").fill(NEURON.explanations[index])
        page.wait_for_timeout(400)
        settled(page)
    if explanations == 1:
        page.locator(".texts .token.t9").first.hover()
    page.screenshot(path=OUT / f"{name}.png")
    page.close()


def _notebook(browser: Browser, scorer: Scorer) -> None:
    result = scorer.score(NEURON.explanations[0], NEURON.activations, simulator=None)
    page = browser.new_page(viewport={"width": 900, "height": 700})
    page.set_content(result_html(result))
    page.screenshot(path=OUT / "notebook.png")
    page.close()


if __name__ == "__main__":
    main()
