"""The page in a real Chromium."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from fault_server import FaultServer
from playwright.sync_api import Browser, ConsoleMessage, Page, expect
from serving import CLASSIC, KEY, serving, shared_scorer

from benchmarks.screenshots import NEURON, chromium, find_chromium, settled
from pipeline.scorer import Scorer
from pipeline.settings import Settings

pytestmark = pytest.mark.skipif(
    find_chromium() is None,
    reason="no browser: install the system's package chromium (apt-get install chromium)",
)

MARKUP = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
NARROW = {"width": 400, "height": 800}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Of a server without an LLM or a secret."""
    with serving(shared_scorer(), Settings(port=0)) as client:
        yield str(client.base_url)


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """The page with its first example scored; what the console complains of fails the test."""
    page = browser.new_page()
    complaints = listen(page)
    page.goto(url)
    settled(page)
    yield page
    page.close()
    assert not complaints


def listen(page: Page) -> list[str]:
    """Errors of the script and violations of the content security policy, as they come."""
    found: list[str] = []

    def note(message: ConsoleMessage) -> None:
        # A refusal is an answer with an error status, of which the browser always makes a note.
        if message.type in ("error", "warning") and "the server responded with" not in message.text:
            found.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def score(page: Page) -> float:
    return float(page.locator(".headline strong").first.inner_text().replace("−", "-"))


def edit(page: Page, explanation: str) -> None:
    page.get_by_label("Explanation 1").fill(explanation)
    expect(page.locator("#answer article h2").first).to_have_text(explanation, timeout=60_000)
    settled(page)


def paste(page: Page, text: str) -> None:
    page.get_by_label("Activations").evaluate(
        """(field, text) => { field.value = text; field.dispatchEvent(new Event("paste")); }""",
        text,
    )
    page.wait_for_timeout(50)
    settled(page)


def test_an_example_is_scored_as_soon_as_it_is_picked(page: Page) -> None:
    assert score(page) > 0.5
    page.get_by_role("link", name=NEURON.title).click()
    settled(page)
    expect(page.get_by_label("Explanation 1")).to_have_value(NEURON.explanations[0])
    expect(page.locator(".text")).to_have_count(len(NEURON.activations))
    expect(page.get_by_role("status")).to_have_text(re.compile(r"Score 0\.\d\d"))
    off = page.locator(".about", has_text="off by").all_inner_texts()
    amounts = [float(text.split("off by ")[1].split()[0]) for text in off]
    assert amounts == sorted(amounts, reverse=True)
    expect(page.get_by_role("table")).to_contain_text("is named by the explanation")
    expect(page.locator(".background li mark").first).to_be_visible()


def test_an_edit_changes_the_score_and_says_by_how_much(page: Page) -> None:
    before = score(page)
    edit(page, "financial derivatives")
    assert score(page) < before
    expect(page.locator(".delta")).to_have_text(re.compile(r"▼ −0\.\d\d"))


def test_explanations_stand_side_by_side(page: Page) -> None:
    page.get_by_label("Another explanation").fill("slow plants")
    expect(page.locator(".compare tbody tr")).to_have_count(2, timeout=60_000)
    expect(page.get_by_label("Another explanation")).to_be_empty()
    good, bad = (
        float(text.replace("−", "-")) for text in page.locator(".compare strong").all_inner_texts()
    )
    assert good > bad
    pictures = page.locator(".compare svg")
    expect(pictures.first).to_have_attribute("aria-label", re.compile(r"90 % interval of the raw"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ('{"explanation": "cats"}', "found no activations"),
        ('[{"tokens": ["a"], "values": [1, 2]}]', "activations[0].values"),
        ('[{"tokens": ["a"], "values": [NaN]}]', "NaN is not JSON"),
    ],
)
def test_a_bad_paste_is_told_at_its_field(page: Page, text: str, message: str) -> None:
    paste(page, text)
    expect(page.locator("#activations-error")).to_contain_text(message)
    field = page.get_by_label("Activations")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_attribute("aria-describedby", "activations-error")
    expect(page.get_by_role("status")).to_contain_text(message)
    expect(page.locator("article")).to_have_count(0)
    paste(page, json.dumps(CLASSIC))
    expect(page.locator("article")).to_have_count(1)
    expect(page.locator("#activations-error")).to_be_empty()
    expect(field).not_to_have_attribute("aria-invalid", "true")


def test_a_feature_export_brings_its_explanations(page: Page) -> None:
    export = {
        "modelId": "gpt2-small",
        "activations": [{**dict(record), "maxValue": 3} for record in NEURON.activations[:2]],
        "explanations": [{"description": "fast animals", "scores": []}, {"description": "foxes"}],
    }
    paste(page, json.dumps(export))
    expect(page.get_by_label("Explanation 2")).to_have_value("foxes")
    expect(page.locator(".compare tbody tr")).to_have_count(2)


def test_a_dropped_file_is_read(page: Page) -> None:
    page.get_by_label("Activations").evaluate(
        """(field, text) => {
            const dropped = new DataTransfer();
            dropped.items.add(new File([text], "feature.json"));
            field.dispatchEvent(new DragEvent("drop", { dataTransfer: dropped, cancelable: true }));
        }""",
        json.dumps({**CLASSIC, "explanation": "quick creatures"}),
    )
    expect(page.locator("article h2")).to_have_text("quick creatures", timeout=60_000)
    expect(page.get_by_label("Explanation 1")).to_have_value("quick creatures")


def test_everything_can_be_reached_and_read_by_keyboard(page: Page) -> None:
    page.locator("body").press("Tab")
    expect(page.get_by_text("Skip to the score")).to_be_focused()
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.className || document.activeElement.id")
        )
        if reached[-1].startswith("token"):
            break
    assert {"explanation-1", "explanation-2", "activations", "file"} <= set(reached)
    first = page.locator(":focus")
    tip = "getComputedStyle(document.activeElement, '::after').content"
    assert "predicted" in page.evaluate(tip)
    name = first.inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator(":focus").inner_text() != name
    assert "predicted" in page.evaluate(tip)
    page.keyboard.press("ArrowLeft")
    assert page.locator(":focus").inner_text() == name
    page.get_by_label("Explanation 1").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("animals")
    page.keyboard.press("Tab")
    expect(page.locator("article h2")).to_have_text("animals", timeout=60_000)
    settled(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [NARROW, {"width": 1280, "height": 900}])
def test_axe_finds_nothing_and_nothing_runs_over_the_edge(
    browser: Browser, url: str, viewport: dict[str, int], scheme: str
) -> None:
    page = browser.new_page(viewport=viewport, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(url)
    settled(page)
    page.get_by_label("Another explanation").fill("slow plants")
    expect(page.locator(".compare")).to_be_visible(timeout=60_000)
    settled(page)
    for details in page.locator("details:not([open]) summary").all():
        details.click()
    found = Axe().run(page)
    assert not found.response["violations"], found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    page.get_by_label("Activations").fill("{")
    expect(page.locator("#activations-error")).not_to_be_empty()
    settled(page)
    assert not Axe().run(page).response["violations"]
    page.close()


def test_markup_is_shown_as_text(page: Page) -> None:
    record = {"tokens": [MARKUP, " quick", "&lt;b&gt;", '" onfocus="x'], "values": [3, 1, 0, 2]}
    paste(page, json.dumps({"explanation": f"quick {MARKUP}", "activations": [record]}))
    expect(page.locator("article h2")).to_have_text(f"quick {MARKUP}", timeout=60_000)
    expect(page.get_by_label("Explanation 1")).to_have_value(f"quick {MARKUP}")
    expect(page.locator(".tokens").first).to_contain_text(MARKUP)
    expect(page.locator(".tokens").first).to_contain_text("&lt;b&gt;")
    assert page.locator("main script, main img").count() == 0
    assert page.title() == "neuron-scorer"


def test_the_policy_stops_what_would_slip_through(browser: Browser, url: str) -> None:
    page = browser.new_page()
    complaints = listen(page)
    page.goto(url)
    page.locator("main").evaluate("(main, markup) => { main.innerHTML = markup; }", MARKUP)
    page.evaluate(
        """() => {
            const made = document.createElement("script");
            made.textContent = "document.title = 'owned'";
            document.body.append(made);
        }"""
    )
    page.wait_for_timeout(200)
    assert page.title() == "neuron-scorer"
    assert any("Content Security Policy" in text for text in complaints)
    page.close()


def test_the_form_works_without_javascript(browser: Browser, url: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url)
    page.get_by_label("Explanation 1").fill("quick animals")
    page.get_by_role("button", name="Score").click()
    expect(page.locator("article h2")).to_have_text("quick animals", timeout=60_000)
    page.get_by_label("Activations").fill("[]")
    page.get_by_role("button", name="Score").click()
    expect(page.locator("#activations-error")).not_to_be_empty()
    expect(page.get_by_label("Explanation 1")).to_have_value("quick animals")
    context.close()


def test_a_secret_is_asked_for_and_a_wrong_one_told_at_its_field(browser: Browser) -> None:
    page = browser.new_page()
    with serving(shared_scorer(), Settings(port=0, server_key=KEY)) as client:
        page.goto(str(client.base_url))
        page.get_by_label("Secret").fill("wrong")
        page.get_by_role("button", name="Score").click()
        expect(page.locator("#secret-error")).to_contain_text("secret is missing or wrong")
        expect(page.get_by_label("Secret")).to_have_attribute("aria-invalid", "true")
        page.get_by_label("Secret").fill(KEY)
        page.get_by_role("button", name="Score").click()
        expect(page.locator("article")).to_have_count(1, timeout=60_000)
        page.close()


def test_the_llm_is_asked_only_after_its_cost_was_shown(
    browser: Browser, fault_server: FaultServer
) -> None:
    settings = Settings(port=0, openai_base_url=fault_server.base_url)
    page = browser.new_page()
    with Scorer(settings) as scorer, serving(scorer, settings) as client:
        page.goto(str(client.base_url))
        settled(page)
        edit(page, "quick animals")
        page.get_by_role("button", name="What would the LLM cost?").click()
        button = page.get_by_role("button", name="Ask the LLM, for about")
        expect(button).to_contain_text("tokens", timeout=60_000)
        assert not fault_server.requests
        button.click()
        expect(page.locator(".key", has_text="simulated by the LLM")).to_be_visible(timeout=60_000)
        assert fault_server.requests
        page.close()
