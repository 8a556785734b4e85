"""HUGGINGFACE_PIPELINE: texts, speech and pictures, here, served and by transformers' own call."""

from __future__ import annotations

import base64
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import tiny_models
from PIL import Image
from sklearn.datasets import load_sample_images

from penstock import Conduit, Endpoint, model_type
from penstock.core.errors import InputMismatch, LoadFailed, MissingModelFile

PIPELINE = model_type.HUGGINGFACE_PIPELINE
PROMPTS = ["the penstock", "good morning"]
PHOTOS = [Image.fromarray(array) for array in load_sample_images().images]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = tmp_path_factory.mktemp("transformers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "text-generation": tiny_models.text_generator(made / "generator"),
            "text-classification": tiny_models.text_classifier(made / "classifier"),
            "automatic-speech-recognition": tiny_models.speech_recogniser(made / "speech"),
            "image-classification": tiny_models.image_classifier(made / "photos"),
        }


@pytest.fixture(scope="module")
def own(folders: dict[str, Path]) -> Callable[..., Any]:
    """Return transformers' own answer: `own(task, data, **parameters)`, as JSON values."""
    from transformers import pipeline

    made: dict[str, Any] = {}

    def call(task: str, data: Any, **parameters: Any) -> Any:
        if task not in made:
            made[task] = pipeline(task, model=str(folders[task]), device=-1)
        return json.loads(json.dumps(made[task](data, **parameters)))

    return call


@pytest.fixture(scope="module")
def generator(folders: dict[str, Path], put_once: Any) -> Endpoint:
    """The generator with defaults: greedy, twelve tokens."""
    arguments = {
        "task": "text-generation", "model": folders["text-generation"],
        "max_new_tokens": 12, "do_sample": False,
    }  # fmt: skip
    return put_once([(PIPELINE, arguments)], "generator")


def told(endpoint: Endpoint, body: Any) -> tuple[int, dict[str, Any]]:
    """Return status and body of a call."""
    headers = {"Authorization": str(endpoint._api_key)}
    answer = httpx2.post(str(endpoint), json=body, headers=headers, timeout=60)
    return answer.status_code, answer.json()


@pytest.mark.parametrize("data", [PROMPTS[0], PROMPTS, PROMPTS[:1]], ids=["text", "list", "one"])
def test_texts_are_continued_as_by_the_pipeline_itself(
    generator: Endpoint, folders: Any, own: Any, data: Any
) -> None:
    expected = own("text-generation", data, max_new_tokens=12, do_sample=False)
    assert "the turbine" in json.dumps(own("text-generation", PROMPTS[0], max_new_tokens=12))
    flow = [(PIPELINE, {"task": "text-generation", "model": folders["text-generation"],
                        "max_new_tokens": 12, "do_sample": False})]  # fmt: skip
    assert generator.predict(data) == expected
    assert generator.versions()[-1].stages[0]["runs_code"] is False
    assert Conduit("here", None, flow).run(data) == expected


def test_parameters_of_a_request_go_over_the_stages_own(generator: Endpoint, own: Any) -> None:
    for parameters in ({"max_new_tokens": 1}, {"return_full_text": False, "max_new_tokens": 3}):
        status, body = told(generator, {"data": PROMPTS[0], "parameters": parameters})
        assert status == 200
        options = {"do_sample": False, **parameters}
        assert body["result"] == own("text-generation", PROMPTS[0], **options)
    # The next request gets the defaults again.
    assert told(generator, PROMPTS)[1]["result"] == own(
        "text-generation", PROMPTS, max_new_tokens=12, do_sample=False
    )


def test_parameters_that_a_function_returns_go_over_those_of_the_request(
    folders: Any, own: Any, put: Any
) -> None:
    def pre(data):
        return {"data": [text.lower() for text in data], "parameters": {"max_new_tokens": 2}}

    def post(result, input_data):
        texts = [found[0]["generated_text"] for found in result]
        return dict(zip(input_data, texts, strict=True))

    arguments = {"task": "text-generation", "model": folders["text-generation"]}
    endpoint = put([(PIPELINE, arguments, {"pre": pre, "post": post})])
    sent = ["THE PENSTOCK", "GOOD"]
    found = endpoint.predict(sent, parameters={"max_new_tokens": 9, "do_sample": False})
    expected = own("text-generation", [t.lower() for t in sent], max_new_tokens=2, do_sample=False)
    assert found == {t: e[0]["generated_text"] for t, e in zip(sent, expected, strict=True)}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"no_such_thing": 3}, "no_such_thing"),
        ({"custom_generate": "owner/code", "trust_remote_code": True}, "cannot be sent"),
        ({"generate_kwargs": {"assistant_model": "gpt2"}}, "'assistant_model' cannot be sent"),
        ({"num_workers": 8}, "'num_workers' cannot be sent"),
    ],
)
def test_parameters_that_are_unknown_or_not_for_callers_are_422(
    generator: Endpoint, parameters: dict[str, Any], words: str
) -> None:
    status, body = told(generator, {"data": PROMPTS, "parameters": parameters})
    assert (status, body["error"]["code"], body["error"]["stage"]) == (422, "input_mismatch", 1)
    assert words in body["error"]["message"]


def test_data_the_pipeline_refuses_is_422_with_its_words(generator: Endpoint) -> None:
    status, body = told(generator, {"data": 3})
    assert (status, body["error"]["code"]) == (422, "input_mismatch")
    assert "int 3" in body["error"]["message"]


def test_texts_are_classified_as_by_the_pipeline_itself(folders: Any, own: Any, put: Any) -> None:
    texts = ["a good machine", "a loud machine"]
    flow = [(PIPELINE, folders["text-classification"])]
    endpoint = put(flow)
    found = endpoint.predict(texts)
    assert [item["label"] for item in found] == ["POSITIVE", "NEGATIVE"]
    for mine, theirs in zip(found, own("text-classification", texts), strict=True):
        assert mine["label"] == theirs["label"]
        assert mine["score"] == pytest.approx(theirs["score"], rel=1e-5)
    scores = endpoint.predict(texts, parameters={"top_k": None})
    assert [len(each) for each in scores] == [2, 2]
    assert json.dumps(Conduit("here", None, flow).run(texts)) == json.dumps(found)


def test_a_tokenizer_of_another_folder_travels_beside_the_model(
    folders: Any, own: Any, put: Any, tmp_path: Path
) -> None:
    model, words = tmp_path / "model", tmp_path / "words"
    for path in folders["text-classification"].iterdir():
        target = words if "tokenizer" in path.name else model
        target.mkdir(exist_ok=True)
        (target / path.name).write_bytes(path.read_bytes())
    arguments = {"task": "text-classification", "model": model, "tokenizer": str(words)}
    found = put([(PIPELINE, arguments)]).predict(["a good machine"])
    assert found[0]["label"] == "POSITIVE"


def test_speech_comes_as_files_bytes_or_base64_at_any_rate(folders: Any, put: Any) -> None:
    def pre(data, files):
        return files

    task = "automatic-speech-recognition"
    arguments = {"task": task, "model": str(folders[task])}
    names = tiny_models.NAMES[:4]
    sounds = [tiny_models.wav(n, rate=48_000 if n % 2 else 16_000) for n in range(4)]
    uploaded = put([(PIPELINE, arguments, {"pre": pre})])
    files = [(f"{n}.wav", sound) for n, sound in enumerate(sounds)]
    assert [found["text"] for found in uploaded.predict([], files=files)] == names
    plain = put([(PIPELINE, arguments)])
    texts = [base64.b64encode(sound).decode() for sound in sounds]
    assert [found["text"] for found in plain.predict(texts)] == names
    raw = {"raw": tiny_models.tone(2).tolist(), "sampling_rate": 16_000}
    assert plain.predict(raw) == {"text": names[2]}


def test_photos_come_as_files_or_base64(folders: Any, own: Any, put: Any) -> None:
    def pre(data, files):
        return files

    task = "image-classification"
    expected = own(task, PHOTOS)
    assert [found[0]["label"] for found in expected] == ["temple", "flower"]
    contents = []
    for photo in PHOTOS:
        kept = io.BytesIO()
        photo.save(kept, "PNG")
        contents.append(kept.getvalue())
    flow = [(PIPELINE, {"task": task, "model": folders[task]}, {"pre": pre})]
    files = [(f"{n}.png", content) for n, content in enumerate(contents)]
    for found in (
        put(flow).predict([], files=files),
        Conduit("here", None, flow).run([], files),
        put([flow[0][:2]]).predict([base64.b64encode(c).decode() for c in contents]),
    ):
        for mine, theirs in zip(found, expected, strict=True):
            assert [m["label"] for m in mine] == [t["label"] for t in theirs]
            np.testing.assert_allclose(
                [m["score"] for m in mine], [t["score"] for t in theirs], rtol=1e-5
            )


@pytest.mark.parametrize(
    "place", ["http://127.0.0.1:9/a.png", "https://example.com/a.png", "/etc/passwd", "/dev/zero"]
)
@pytest.mark.parametrize("task", ["image-classification", "automatic-speech-recognition"])
def test_a_caller_cannot_have_addresses_fetched_or_files_of_the_server_read(
    folders: Any, put_once: Any, task: str, place: str
) -> None:
    endpoint = put_once([(PIPELINE, {"task": task, "model": folders[task]})], f"no-{task[:5]}")
    for data in (place, [place], {"image": place}):
        status, body = told(endpoint, data)
        assert (status, body["error"]["code"]) == (422, "input_mismatch"), body
        assert "base64" in body["error"]["message"]


def test_a_model_that_cannot_be_fetched_says_how_to_do_without(
    put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(LoadFailed, match="nobody/nothing") as caught:
        Conduit("here", None, [(PIPELINE, {"model": "nobody/nothing"})]).load()
    assert "save_pretrained" in str(caught.value.hint)


def test_a_folder_that_holds_no_model_is_a_failed_deploy_in_transformers_words(
    put: Any, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(LoadFailed, match=r"Stage 1 .HUGGINGFACE_PIPELINE"):
        put([(PIPELINE, {"task": "text-generation", "model": tmp_path})])
    with pytest.raises(MissingModelFile):
        put([(PIPELINE, {"model": tmp_path / "nowhere"})])


def test_one_wrong_request_does_not_harm_the_next(generator: Endpoint) -> None:
    with pytest.raises(InputMismatch):
        generator.predict(3)
    assert len(generator.predict(PROMPTS)) == 2
