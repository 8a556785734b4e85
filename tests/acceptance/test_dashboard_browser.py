"""The pages in a real browser against a real server, from signing in to rolling back."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import browsing, needs_chromium, sign_in
from playwright.sync_api import expect

from penstock import deploy, model_type

pytestmark = [needs_chromium, pytest.mark.timeout(900)]

#: Milliseconds that the browser waits for anything.
PATIENCE = 120_000

PEOPLE_PAGES = (
    "", "/start", "/runs", "/files", "/webhooks", "/keys", "/secrets", "/settings",
    "/d/{name}", "/d/{name}/runs", "/d/{name}/versions", "/d/{name}/code", "/d/{name}/builds",
    "/d/{name}/playground", "/d/{name}/settings", "/d/{name}/monitoring",
)  # fmt: skip


def as_row(file: Any) -> list[float]:
    from PIL import Image

    return [float(value) / 16 for value in Image.open(file).convert("L").tobytes()]


def first_pre(data, files):
    return [as_row(file) for file in files]


def second_pre(data, files):
    print(f"{len(files)} pictures")
    return [as_row(file) for file in files]


def failing_pre(data, files):
    names = {"a": 1}
    return [[names[name]] * 64 for name in data]


def picture(digit: int) -> bytes:
    """A PNG of 8 by 8 grey values, one of scikit-learn's digits."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    found = digits.images[list(digits.target).index(digit)]
    out = io.BytesIO()
    Image.fromarray((found * 16).clip(0, 255).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of scikit-learn's digits."""
    import joblib
    from sklearn.datasets import load_digits
    from sklearn.linear_model import RidgeClassifier

    digits = load_digits()
    path = tmp_path_factory.mktemp("models") / "digits.joblib"
    joblib.dump(RidgeClassifier().fit(digits.data, digits.target), path)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsing() as found:
        yield found


@pytest.fixture
def page(browser: Any, server: Any) -> Iterator[Any]:
    """A signed-in page; scripts that fail and files that are refused fail the test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    sign_in(page, server.url, server.keys["deploy"])
    yield page
    context.close()
    assert not problems


Put = Callable[..., Any]


@pytest.fixture
def flow(server: Any, model: Path) -> Put:
    def put(name: str, pre: Any, **options: Any) -> Any:
        stages = [(model_type.SKLEARN, model, {"pre": pre})]
        return deploy(stages, name, server.keys["deploy"], server=server.url, quiet=True, **options)

    return put


def watched(endpoint: Any) -> None:
    """Watch a deployment, call it, tell the truth about one of two predictions."""
    endpoint.monitor(["a", "b", "c"] * 4, [3, 7, 1] * 4)
    files = [(f"{digit}.png", picture(digit)) for digit in (3, 7)]
    answer = endpoint.call(["a", "b"], files)
    assert answer.prediction_ids is not None
    endpoint.feedback({answer.prediction_ids[0]: 3})


def test_a_deploy_appears_by_itself_and_its_page_shows_the_traffic(
    page: Any, server: Any, flow: Put
) -> None:
    page.goto(f"{server.url}/p/default")
    endpoint = flow("appears", first_pre)
    row = page.locator("#row-appears, a:has-text('appears')").first
    row.wait_for()
    # What was renewed is where it was, and the button that stops it is, too.
    assert page.locator("#live-block #deployments").count() == 1
    assert page.locator(".head #live").is_visible()
    assert page.locator(".head .totals").count() == 0
    endpoint.predict(["a"], files=[("a.png", picture(3))])
    page.goto(f"{server.url}/p/default/d/appears")
    page.wait_for_selector("#charts[data-drawn]")
    assert page.locator("#endpoint").inner_text() == endpoint
    expect(page.locator("#calls-chart")).to_have_attribute(
        "aria-label", re.compile(" 1 calls"), timeout=PATIENCE
    )
    assert page.locator("#calls-chart canvas").count() == 1
    assert "digits.joblib" in page.locator(".pipe").inner_text()


def test_a_deployments_page_says_how_busy_each_replica_is(
    page: Any, server: Any, flow: Put
) -> None:
    endpoint = flow("busies", first_pre, replicas=2)
    page.goto(f"{server.url}/p/default/d/busies")
    rows = page.locator("#replicas tbody tr")
    expect(rows).to_have_count(2, timeout=PATIENCE)
    for _ in range(30):
        endpoint.predict(["a"], files=[("a.png", picture(3))])
    calls, busy = rows.locator("td.calls"), rows.locator("td.busy")
    some = re.compile(r"[1-9]")  # of the one or of both: whoever has the least work gets a call
    expect(calls.filter(has_text=some).first).to_be_visible(timeout=PATIENCE)
    expect(busy.filter(has_text=re.compile(r"^\d+$"))).to_have_count(2, timeout=PATIENCE)
    totals = [calls.nth(row).get_attribute("title") or "" for row in (0, 1)]
    assert sum(int(total.split()[0]) for total in totals) == 30
    expect(calls.filter(has_text=re.compile("^0.0$"))).to_have_count(2, timeout=PATIENCE)


def test_the_playground_sends_a_file_and_the_run_shows_its_waterfall(
    page: Any, server: Any, flow: Put
) -> None:
    flow("plays", second_pre)
    page.goto(f"{server.url}/p/default/d/plays/playground")
    page.fill("#data", '["a", "b"]')
    files = [{"name": f"{d}.png", "mimeType": "image/png", "buffer": picture(d)} for d in (7, 3)]
    page.set_input_files("#files", files)
    page.get_by_label("Move 3.png up").click()
    page.keyboard.press("Control+Enter")
    answer = page.locator("#answer-text")
    answer.wait_for()
    assert re.search(r'"result": \[3, 7\]', answer.inner_text())
    page.click("text=Open run")
    page.wait_for_selector("table.fall")
    assert "Succeeded" in page.locator(".run-head").inner_text()
    assert re.search(r"Replica\s+1\s*process \d+", page.locator("#replica").inner_text())
    timeline = page.locator("table.fall").inner_text()
    for part in ("queue", "receive", "Stage 1", "second_pre", "digits.joblib"):
        assert part in timeline
    page.reload()
    assert "2 pictures" in page.locator("#log-lines").inner_text()
    shown = page.locator(".thumb")
    assert shown.count() == 2
    assert shown.first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 8


def priced(data):
    return [f"{home['city']}: {home['rooms'] * home['area']}" for home in data]


HOME = {"rooms": 3, "area": 71.5, "city": "Ulm", "new": True, "near": ["park"]}


def test_the_playgrounds_form_and_its_json_show_the_same_data(page: Any, server: Any) -> None:
    stage = (model_type.PYTHON, priced)
    key = server.keys["deploy"]
    deploy([stage], "homes", key, server=server.url, quiet=True, example=[HOME])
    page.goto(f"{server.url}/p/default/d/homes/playground")
    form, text, problem = page.locator("#fields"), page.locator("#data"), page.locator(".hint.bad")
    to_form, to_json = page.get_by_role("button", name="Form"), page.locator("#as-json")
    expect(form).to_be_visible()
    expect(text).to_be_hidden()
    assert not _problems(Axe(), page, "form")

    page.get_by_label("area").fill("70.0")
    page.get_by_label("city").fill('Bad "Wald"\nsee')
    page.get_by_label("new").select_option("false")
    page.get_by_role("button", name="Add a data point").click()
    second = page.get_by_role("group", name="Data point 2")
    second.get_by_label("rooms").fill("12345678901234567890")
    second.get_by_label("near").fill('{"x": [1.50]}')
    to_json.focus()
    page.keyboard.press("Enter")
    expect(form).to_be_hidden()
    home = '"area": 70.0, "city": "Bad \\"Wald\\"\\nsee", "new": false, "near": '
    first_half, second_half = f'{{"rooms": 3, {home}["park"]}}', f'{home}{{"x": [1.50]}}}}'
    both = f'[{first_half}, {{"rooms": 12345678901234567890, {second_half}]'
    expect(text).to_have_value(both)
    assert not _problems(Axe(), page, "JSON")

    to_form.click()
    expect(second.get_by_label("rooms")).to_have_value("12345678901234567890")
    second.get_by_label("rooms").fill("two")  # a form that holds no number is not turned into JSON
    to_json.click()
    expect(problem).to_have_text(
        "“rooms” of data point 2 is not a number. Put it right before it becomes JSON."
    )
    expect(second.get_by_label("rooms")).to_be_focused()
    expect(text).to_be_hidden()
    page.get_by_role("button", name="Remove data point 2").click()
    to_json.click()
    expect(text).to_have_value(f"[{first_half}]")

    for data, why in (
        ("[{", "This is no JSON: "),
        ('{"rooms": 3}', "The form shows a list, and this is none."),
        ("[1]", "The form takes an object for data point 1, and this is none."),
        ('[{"rooms": 3}]', "The form cannot leave out “area”, which data point 1 does."),
        (both.replace('"near"', '"far"'), "The form has no field for “far” of data point 1."),
        (both.replace("false", "0"), "The form takes true or false for “new” of data point 1, "),
        (f"[{', '.join([first_half] * 41)}]", "at most 200 fields, and these are 205."),
    ):
        text.fill(data)
        to_form.click()
        expect(problem).to_contain_text(why)
        expect(problem).to_contain_text("So it stays JSON.")
        expect(text).to_have_value(data)

    page.get_by_role("button", name="Fill with the example").click()
    to_form.click()
    expect(problem).to_be_hidden()
    page.get_by_label("rooms").fill("2")
    page.get_by_label("city").focus()
    page.keyboard.press("Control+Enter")
    expect(page.locator("#answer-text")).to_contain_text('"Ulm: 143.0"')
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not _problems(Axe(), page, "form and answer on a phone in the dark")


def test_a_form_has_the_models_columns_and_the_files_of_its_data(
    page: Any, server: Any, model: Path, flow: Put
) -> None:
    key = server.keys["deploy"]
    deploy([(model_type.SKLEARN, model)], "columns", key, server=server.url, quiet=True)
    page.goto(f"{server.url}/p/default/d/columns/playground")
    expect(page.locator("#fields .cell")).to_have_count(64)
    page.get_by_label("64", exact=True).fill("16")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#answer .state").first).to_contain_text("200")

    files = [("a.png", picture(3)), ("b.png", picture(7))]
    flow("pictures", first_pre, example=["a", "b"], example_files=files)
    page.goto(f"{server.url}/p/default/d/pictures/playground")
    expect(page.locator("#fields .cell.text")).to_have_count(2)
    page.get_by_role("button", name="Remove data point 2").click()
    shown = {"name": "c.png", "mimeType": "image/png", "buffer": picture(7)}
    page.set_input_files("#files", [shown])
    page.locator("#as-json").click()
    expect(page.locator("#data")).to_have_value('["a"]')
    expect(page.locator("#file-list li")).to_have_count(1)  # what was chosen is there in both
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#answer-text")).to_contain_text('"result": [7]')

    flow("untold", first_pre)
    page.goto(f"{server.url}/p/default/d/untold/playground")
    expect(page.get_by_role("button", name="Form")).to_be_disabled()
    expect(page.locator("#no-form")).to_contain_text("neither an example nor the model tells")


def test_a_diff_marks_what_changed_and_keys_walk_through_it(
    page: Any, server: Any, flow: Put
) -> None:
    flow("differs", first_pre)
    flow("differs", second_pre)
    page.goto(f"{server.url}/p/default/d/differs")
    page.get_by_role("link", name="Diff of v2 and v1").click()
    page.wait_for_selector(".diff.split")
    added = page.locator(".diff.split .src.ins").all_inner_texts()
    assert any("pictures" in line for line in added)
    assert page.locator(".diff.split mark").first.is_visible()
    page.keyboard.press("n")
    assert page.evaluate("document.activeElement.className") == "change"
    assert "as_row" in page.locator(".parts").inner_text()


def test_a_failed_run_marks_the_line_and_rolling_back_can_be_undone(
    page: Any, server: Any, flow: Put
) -> None:
    good = flow("fails", first_pre)
    good.predict(["b"], files=[("b.png", picture(1))])
    flow("fails", failing_pre, auto_rollback=False)
    for _ in range(2):
        with pytest.raises(Exception, match="KeyError"):
            good.predict(["b"], files=[("b.png", picture(1))])
    page.goto(f"{server.url}/p/default/d/fails/runs?state=failed")
    expect(page.locator("table.runs tbody a")).to_have_count(2, timeout=PATIENCE)
    page.locator("table.runs tbody a").first.click()
    page.wait_for_selector("tr.hit")
    assert "names[name]" in page.locator("tr.hit td").inner_text()
    assert "KeyError" in page.locator(".failure h2").inner_text()
    assert "name 'b'" in page.locator(".values").inner_text()
    assert re.search(r"Same error\s+2 runs since .*, only v2", page.locator(".facts").inner_text())
    story = page.locator(".failure p").inner_text()
    assert "v1 did not raise it, and this function changed since: compare v1 and v2" in story
    assert page.locator("tr.unreached").count() == 1
    page.get_by_role("button", name="Roll back to v1").click()
    toast = page.locator(".toast")
    expect(toast).to_contain_text("v1 is active", timeout=PATIENCE)
    toast.hover()  # what is pointed at stays
    assert page.locator("tr.on th").inner_text() == "v1"
    toast.get_by_role("button", name="Undo").click()
    expect(page.locator("tr.on th")).to_have_text("v2", timeout=PATIENCE)


def test_a_page_that_asks_for_nothing_never_says_that_it_has_no_connection(
    page: Any, server: Any, flow: Put
) -> None:
    answer = flow("rests", first_pre).call(["a"], [("a.png", picture(3))])
    page.clock.install()
    page.goto(f"{server.url}/p/default/runs/{answer.run_id}?fresh=1")
    page.wait_for_selector("table.fall")
    page.clock.fast_forward(30_000)
    assert page.locator("#stale").is_hidden()


def test_later_runs_lead_from_one_failure_to_the_next_however_many_followed(
    page: Any, server: Any, flow: Put
) -> None:
    endpoint = flow("fails-often", failing_pre)
    ids = []
    for _ in range(55):
        with pytest.raises(Exception, match="KeyError") as failed:
            endpoint.predict(["b"], files=[("b.png", picture(1))])
        ids.append(failed.value.facts["run_id"])
    page.goto(f"{server.url}/p/default/runs/{ids[0]}?fresh=1")
    for following in ids[1:4]:
        page.wait_for_load_state()  # its script listens from then on
        page.keyboard.press("]")
        page.wait_for_selector(f"h1:has-text('{following}')")
    page.wait_for_load_state()
    page.keyboard.press("[")
    page.wait_for_selector(f"h1:has-text('{ids[2]}')")


def test_the_lines_of_a_build_stand_in_columns(page: Any, server: Any, flow: Put) -> None:
    flow("built", second_pre)
    page.goto(f"{server.url}/p/default/d/built/builds")
    page.wait_for_selector("#build-log")
    for column in ("n", "level", "msg"):
        cells = page.locator(f"#build-log td.{column}")
        assert cells.count() > 2
        assert len({cells.nth(row).bounding_box()["x"] for row in range(cells.count())}) == 1


def test_a_key_is_made_for_some_days_and_one_deployment(page: Any, server: Any, flow: Put) -> None:
    flow("for-one", first_pre)
    page.goto(f"{server.url}/p/default/keys")
    page.fill("#label", "nightly")
    page.select_option("#scope", "predict")
    page.fill("#days", "7")
    page.fill("#deployments", "for-one")
    page.get_by_role("button", name="Make the key").click()
    made = page.locator("#made").inner_text()
    assert made.startswith("pk_p_")
    row = page.locator("tr", has_text="nightly").inner_text()
    assert "for-one" in row
    assert "until" in row
    page.fill("#days", "soon")
    page.get_by_role("button", name="Make the key").click()
    assert "no number of days" in page.locator(".toast").inner_text()


def test_deleting_asks_for_the_name_and_starts_on_the_safe_button(
    page: Any, server: Any, flow: Put
) -> None:
    flow("goes", first_pre)
    page.goto(f"{server.url}/p/default/d/goes")
    page.get_by_label("More").click()
    page.get_by_role("button", name="Delete goes").first.click()
    assert page.evaluate("document.activeElement.innerText") == "Keep it"
    sure = page.locator("dialog button.danger")
    assert sure.is_disabled()
    page.fill("#typed", "goes")
    sure.click()
    page.wait_for_selector("text=goes is deleted.")
    assert page.locator("#row-goes").count() == 0


def test_the_keyboard_reaches_everything_and_dark_is_remembered(page: Any, server: Any) -> None:
    page.goto(f"{server.url}/p/default/runs")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Skip to content"
    page.keyboard.press("?")
    assert page.locator("#shortcuts").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "goto"
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert light != dark
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


def test_on_a_phone_the_order_of_the_deployments_is_chosen_from_a_list(
    page: Any, server: Any, flow: Put
) -> None:
    for name in ("zz-sorted", "aa-sorted"):
        flow(name, first_pre)
    page.goto(f"{server.url}/p/default?range=1h")
    expect(page.locator("#sort")).to_be_hidden()  # the heads of the table do it there
    page.set_viewport_size({"width": 390, "height": 844})
    for key in ("calls", "p99", "errors", "name"):
        page.locator("#sort").focus()
        page.select_option("#sort", key)
        page.wait_for_url(f"**/p/default?range=1h&sort={key}")
        expect(page.locator("#sort")).to_have_value(key)
    rows = [row.removesuffix(" v1") for row in page.locator(".overview .c-name").all_inner_texts()]
    assert rows == sorted(rows)
    assert {"aa-sorted", "zz-sorted"} <= set(rows)
    assert not _problems(Axe(), page, "overview on a phone")
    page.reload()
    expect(page.locator("#sort")).to_have_value("name")


@pytest.mark.parametrize("width", [1440, 900, 390])
def test_no_page_is_wider_than_the_window(page: Any, server: Any, flow: Put, width: int) -> None:
    watched(flow("fits", first_pre))
    page.set_viewport_size({"width": width, "height": 844})
    for path in PEOPLE_PAGES:
        page.goto(server.url + "/p/default" + path.format(name="fits"))
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_problem(page: Any, server: Any, flow: Put, scheme: str) -> None:
    watched(flow("axes", second_pre))
    page.emulate_media(color_scheme=scheme)
    found = []
    for path in PEOPLE_PAGES:
        page.goto(server.url + "/p/default" + path.format(name="axes"))
        if path == "/runs":
            run = page.locator("table.runs tbody a").first.get_attribute("href")
        found += _problems(Axe(), page, path)
    page.goto(server.url + str(run))
    found += _problems(Axe(), page, "run")
    page.context.clear_cookies()
    page.goto(server.url + "/")
    found += _problems(Axe(), page, "sign in")
    assert not found, "\n".join(found)


def _problems(axe: Any, page: Any, where: str) -> list[str]:
    violations = axe.run(page).response["violations"]
    return [
        f"{where or 'overview'}: {one['id']} ({one['impact']}): {one['nodes'][0]['html'][:160]}"
        for one in violations
        if one["impact"] in {"serious", "critical"}
    ]
