"""Programs that people wrote for the hosted original run here; only their import line changed.

They are reduced to what they do with the service, in our own words, and lie in `users/`.
"""

from __future__ import annotations

import http.server
import io
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import sklearn.base
import tiny_models
import xgboost
from PIL import Image
from sklearn.datasets import load_diabetes, load_sample_image
from sklearn.linear_model import LinearRegression

import penstock
from penstock import Endpoint, deploy, model_type
from penstock.core.errors import InvalidCall, MissingModelFile

X, Y = load_diabetes(return_X_y=True)


def line(shown: str, word: str) -> str:
    """Return the rest of the one line that begins with `word`."""
    (found,) = [text for text in shown.splitlines() if text.startswith(f"{word} ")]
    return found[len(word) + 1 :]


def test_t1_the_text_service_learns_its_endpoint_from_the_printed_line_and_deploys_twice(
    programs: Any, tiny: Callable[[str], Path]
) -> None:
    model = tiny("text_generator")
    shown = programs.run("text_service", "known.json", model, "the penstock", 6)
    url = line(shown, "url")
    assert line(shown, "deployed") == url
    (answer,) = [json.loads(text) for text in shown.splitlines() if text.startswith("{")]
    assert answer["result"][0]["generated_text"].startswith("the penstock carries")
    endpoint = Endpoint(url, programs.server.keys["deploy"])
    assert [version.number for version in endpoint.versions()] == [2, 1]
    # The next start finds the file and deploys nothing; parameters go over the stage's 100 tokens.
    again = programs.run("text_service", "known.json", model, "the penstock", 1)
    assert line(again, "url") == url
    assert len(endpoint.versions()) == 2
    texts = [
        json.loads(text)["result"][0]["generated_text"]
        for text in (shown + again).splitlines()
        if text.startswith("{")
    ]
    assert len(texts[1]) < len(texts[0])
    endpoint.delete()


def test_t1_a_request_that_fails_prints_status_and_text(
    programs: Any, tiny: Callable[[str], Path]
) -> None:
    model = tiny("text_generator")
    shown = programs.run("text_service", "known.json", model, "the penstock", PUBLIC_KEY="wrong")
    assert line(shown, "401").startswith('{"error":')
    Endpoint(line(shown, "url"), programs.server.keys["deploy"]).delete()


def test_t2_twenty_recordings_at_once_keep_their_transcripts_though_all_write_one_file_name(
    programs: Any, tiny: Callable[[str], Path]
) -> None:
    paths = []
    for number in range(20):
        paths.append(programs.folder / f"{number}.wav")
        paths[-1].write_bytes(tiny_models.wav(number % len(tiny_models.NAMES)))
    shown = programs.run("speech", tiny("speech_recogniser"), *paths)
    found = json.loads(shown.splitlines()[-1])
    assert len(found) == 20
    for number, path in enumerate(paths):
        assert found[str(path)] == [200, tiny_models.NAMES[number % len(tiny_models.NAMES)]]


def save_regressor(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lin_reg.pkl"
    path.write_bytes(pickle.dumps(LinearRegression().fit(X, Y)))
    return path


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Serve a folder as the model registry of the script."""

    class Files(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join()


def test_t3_the_script_deploys_a_path_object_and_rows_get_one_number_each(programs: Any) -> None:
    save_regressor(programs.folder / "models")
    url = line(programs.run("sklearn_script", "--source=local"), "endpoint")
    endpoint = Endpoint(url, programs.server.keys["predict"])
    own = LinearRegression().fit(X, Y).predict(X[:5])
    np.testing.assert_allclose(endpoint.predict(X[:5].tolist()), own)
    with registry(programs.folder / "models") as address:
        shown = programs.run(
            "sklearn_script", "--source=registry", "--models-dir=fetched", f"--registry={address}"
        )
    assert line(shown, "endpoint") == url
    assert (programs.folder / "fetched" / "lin_reg.pkl").is_file()
    np.testing.assert_allclose(endpoint.predict(X[:5].tolist()), own)


def test_t3_without_a_key_or_a_model_the_script_fails_and_says_so(programs: Any) -> None:
    shown = programs.run("sklearn_script", PRIVATE_KEY=None, status=2)
    assert "PRIVATE_KEY is not set" in shown
    shown = programs.run("sklearn_script", status=1)
    assert "there is no file 'models/lin_reg.pkl'" in shown


def test_t3_calls_that_are_nested_or_mixed_up_are_told_so(programs: Any, server: Any) -> None:
    path = save_regressor(programs.folder)
    key = server.keys["deploy"]
    stage = (model_type.SKLEARN, path)
    for arguments, words in [
        (("sk-test-model", stage, key), "order is deploy"),
        ((str(path), "sk-test-model", key), "order is deploy"),
        ((stage, key, stage), "order is deploy"),
    ]:
        with pytest.raises(InvalidCall) as caught:
            deploy(*arguments, server=server.url)
        assert words in f"{caught.value} {caught.value.hint}"
    with pytest.raises(MissingModelFile, match="Stage 1"):
        deploy((model_type.SKLEARN, path.parent / "nowhere.pkl"), "sk", key, server=server.url)


def test_t3_a_model_of_another_scikit_learn_deploys_with_a_warning_that_names_both_versions(
    programs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sklearn.base, "__version__", "0.24.2")
    save_regressor(programs.folder / "models")
    url = line(programs.run("sklearn_script"), "endpoint")
    endpoint = Endpoint(url, programs.server.keys["deploy"])
    assert len(endpoint.predict(X[:3].tolist())) == 3
    view = httpx2.get(
        url.removesuffix("/predict"), headers={"Authorization": programs.server.keys["deploy"]}
    ).json()
    (warning,) = view["replicas"][0]["facts"]["stages"][0]["warnings"]
    assert "0.24.2" in warning
    assert sklearn.__version__ in warning
    endpoint.delete()


def test_t4_a_body_without_data_reaches_the_first_function_and_result_is_at_the_top(
    programs: Any, tiny: Callable[[str], Path], put: Any
) -> None:
    def pre(data):
        assert sorted(data) == ["max_length", "prompt"], data
        question = data["prompt"].removeprefix("Question: ").partition("\n")[0]
        tokens = data["max_length"]
        return {"data": question, "parameters": {"max_new_tokens": tokens, "do_sample": False}}

    def post(result):
        return result[0]["generated_text"]

    arguments = {"task": "text-generation", "model": tiny("text_generator")}
    functions = {"pre": pre, "post": post}
    endpoint = put([(model_type.HUGGINGFACE_PIPELINE, arguments, functions)], "llm")
    shown = programs.run("llm_wrapper", endpoint, "the penstock")
    # A text alone is answered as a list with that text.
    assert shown.strip() == "['the penstock carries water to the turbine']"


def test_t4_a_text_by_itself_is_cut_at_the_stop_words(programs: Any, put: Any) -> None:
    def answer(data):
        from penstock import Text

        return Text(data["prompt"] + " water.\nQuestion: and then?")

    endpoint = put([(model_type.PYTHON, answer)], "llm-text")
    shown = programs.run("llm_wrapper", endpoint, "what?", "\nQuestion:", "never")
    assert shown == "Question: what?\nAnswer: water.\n"


def test_t4_a_failure_of_the_flow_is_500_with_a_body_to_read(programs: Any, put: Any) -> None:
    def answer(data):
        raise RuntimeError("the model is out of words")

    shown = programs.run("llm_wrapper", put([(model_type.PYTHON, answer)], "llm-broken"), "why?")
    status, _, body = line(shown, "failed").partition(": ")
    assert status == "500"
    assert "the model is out of words" in json.loads(body)["error"]["message"]


def test_the_agent_plugin_retries_what_fails_and_does_without_a_result(
    programs: Any, put: Any
) -> None:
    def answer(data):
        from penstock import memory

        if memory.incr("calls") < 3:
            raise RuntimeError("not yet")
        return [data["prompt"].upper()]

    shown = programs.run("agent_plugin", put([(model_type.PYTHON, answer)], "agent"), "hello")
    assert line(shown, "result") == "['HELLO']"

    def never(data):
        raise RuntimeError("never")

    shown = programs.run("agent_plugin", put([(model_type.PYTHON, never)], "agent-never"), "hello")
    assert (line(shown, "result"), line(shown, "tries")) == ("None", "4")


@contextmanager
def guarded_registry(model: bytes) -> Iterator[dict[str, str]]:
    """Serve a model to whoever has the key; what it takes to fetch it, by name of the secret."""
    known = {"REGISTRY_PROJECT": "power-market", "REGISTRY_API_KEY": "k-" + "7" * 20}

    class Registry(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            project = f"project={known['REGISTRY_PROJECT']}"
            allowed = self.headers["Authorization"] == f"ApiKey {known['REGISTRY_API_KEY']}"
            self.send_response(200 if allowed and self.path.endswith(project) else 403)
            self.end_headers()
            self.wfile.write(model if allowed else b"")

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield {**known, "REGISTRY_URL": f"http://127.0.0.1:{made.server_port}"}
        made.shutdown()
        thread.join()


def price_model() -> tuple[bytes, float]:
    """Return a model of the next hour's price as a file, and what it says of `yesterday()`."""
    hours = np.arange(24 * 90)
    noise = np.random.default_rng(3).normal(0, 2, len(hours))
    prices = 60 + 20 * np.sin(hours * np.pi / 12) + noise
    windows = np.lib.stride_tricks.sliding_window_view(prices, 25)
    model = xgboost.XGBRegressor(n_estimators=20, n_jobs=1).fit(windows[:, :24], windows[:, 24])
    yesterday = 40.0 + 1.5 * np.arange(24)
    return model.get_booster().save_raw("ubj"), float(model.predict(yesterday[None])[0])


def test_the_price_predictor_fetches_its_model_with_three_secrets_here_and_served(
    programs: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    model, expected = price_model()
    with guarded_registry(model) as secrets:
        here = programs.run("price_predictor", "local", **secrets)
        assert float(line(here, "local")) == expected
        absent = programs.run("price_predictor", "local", status=1)
        assert "Secret not found for key 'REGISTRY_" in absent
        missing = programs.run("price_predictor", "deploy", status=1)
        assert "penstock secrets set REGISTRY_" in missing
        told = {"api_key": programs.server.keys["admin"], "server": programs.server.url}
        told["project"] = "default"  # other tests of this server may have made more projects
        for name, value in secrets.items():
            penstock.secrets.set(name, value, **told)
        try:
            url = line(programs.run("price_predictor", "deploy"), "endpoint")
            served = programs.run("price_predictor", "ask", url)
            assert float(line(served, "served")) == expected
            Endpoint(url, programs.server.keys["deploy"]).delete()
        finally:
            for name in secrets:
                penstock.secrets.delete(name, **told)


def test_the_chat_service_finds_the_address_in_endpoint_and_the_list_under_result(
    programs: Any, tiny: Callable[[str], Path]
) -> None:
    shown = programs.run("chat_service", tiny("text_classifier"), "very good, it works")
    assert shown.splitlines()[-1] == "POSITIVE"


def test_pictures_as_base64_with_the_public_key(
    programs: Any, tiny: Callable[[str], Path], put: Any
) -> None:
    def pre(data):
        return data["image"]

    def post(result):
        return {"label": result[0]["label"]}

    arguments = {"task": "image-classification", "model": tiny("image_classifier")}
    endpoint = put(
        [(model_type.HUGGINGFACE_PIPELINE, arguments, {"pre": pre, "post": post})], "pictures"
    )
    paths = []
    for name in ("china.jpg", "flower.jpg"):
        content = io.BytesIO()
        Image.fromarray(load_sample_image(name)).save(content, "JPEG")
        paths.append(programs.folder / name)
        paths[-1].write_bytes(content.getvalue())
    shown = programs.run("image_client", endpoint, *paths)
    assert shown.splitlines() == ["200 {'label': 'temple'}", "200 {'label': 'flower'}"]


def test_the_quickstarts_of_scikit_learn_and_xgboost_answer_probabilities(programs: Any) -> None:
    shown = programs.run("quickstart_iris")
    for word in ("forest", "trees"):
        answer = eval(line(shown, word))
        assert answer["status_code"] == 200
        (row,) = answer["data"]["result"]
        assert len(row) == 3
        assert sum(row) == pytest.approx(1)
        assert max(row) == row[0]


@pytest.mark.parametrize(
    ("program", "lines"),
    [
        ("quickstart_cifar", ["cifar-pickled 200 True", "cifar-scripted 200 True"]),
        ("quickstart_spacy", ["['This', 'is', 'a', 'test']"]),
        ("quickstart_keras", ["200 True"]),
        ("quickstart_layoutlm", ["True"]),
    ],
)
def test_the_quickstart_prints_what_the_documentation_promised(
    programs: Any, program: str, lines: list[str]
) -> None:
    shown = programs.run(program).splitlines()
    assert [text for text in shown if text in lines] == lines, shown
