"""SPACY: pipelines in folders, with and without a `post`, here, served and by spaCy's own call."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
import spacy
import tiny_models

from penstock import Conduit, PenstockError, deploy, model_type
from penstock.core.errors import LoadFailed

TEXTS = [
    "Ada saw the Hoover Dam. It was quiet.",
    "a bad and loud machine",
    "very good, it works",
]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.spacy_pipeline(tmp_path_factory.mktemp("spacy") / "names")


@pytest.fixture(scope="module")
def nlp(pipeline: Path) -> Any:
    return spacy.load(pipeline)


def words_of_each(docs: list[Any]) -> Any:
    return [[token.text for token in doc] for doc in docs]


def labels(result: Any) -> Any:
    docs = result if isinstance(result, list) else [result]
    return [[[ent.text, ent.label_] for ent in doc.ents] for doc in docs]


def test_a_batch_of_texts_gives_the_documents_of_nlp_pipe_here_and_served(
    pipeline: Path, nlp: Any, agree: Any
) -> None:
    own = [[[e.text, e.label_] for e in doc.ents] for doc in nlp.pipe(TEXTS)]
    assert own[0] == [["Ada", "PERSON"], ["Hoover Dam", "PLACE"]]
    agree([(model_type.SPACY, pipeline, {"post": labels})], TEXTS, own)


def test_without_a_post_the_answer_is_spacys_own_json_with_the_words_written_out(
    pipeline: Path, nlp: Any, put: Any
) -> None:
    flow = [(model_type.SPACY, str(pipeline))]
    served = put(flow).predict(TEXTS)
    assert json.dumps(served) == json.dumps(Conduit("here", None, flow).run(TEXTS))
    for found, doc in zip(served, nlp.pipe(TEXTS), strict=True):
        own = doc.to_json()
        assert found["cats"] == pytest.approx(own["cats"], rel=1e-5)
        assert found["sents"] == own["sents"]
        assert [t["text"] for t in found["tokens"]] == [t.text for t in doc]
        assert [(e["text"], e["label"]) for e in found["ents"]] == [
            (e.text, e.label_) for e in doc.ents
        ]


def test_a_pipeline_itself_is_saved_as_a_folder_and_answers_as_it_does_here(
    nlp: Any, put: Any
) -> None:
    flow = [(model_type.SPACY, nlp, {"post": labels})]
    endpoint = put(flow)
    assert endpoint.predict(TEXTS) == Conduit("here", None, flow).run(TEXTS)
    assert endpoint.predict(TEXTS)[0] == [["Ada", "PERSON"], ["Hoover Dam", "PLACE"]]
    (stage,) = endpoint.versions()[-1].stages
    assert (stage["model"], stage["runs_code"]) == ("English", False)


def test_one_text_gives_post_one_document_and_a_post_of_lists_always_a_list(
    pipeline: Path, put: Any
) -> None:
    def words(doc):
        return [token.text for token in doc]

    one = put([(model_type.SPACY, pipeline, {"post": words})])
    assert one.predict(["Ada saw it"]) == ["Ada", "saw", "it"]
    assert one.predict("Ada saw it") == ["Ada", "saw", "it"]
    each = put([(model_type.SPACY, pipeline, {"post": words_of_each})])
    assert each.predict(["Ada saw it"]) == [["Ada", "saw", "it"]]
    assert each.predict(["Ada", "saw it"]) == [["Ada"], ["saw", "it"]]


def test_a_post_that_waits_gets_documents_too(pipeline: Path, put: Any) -> None:
    async def post(doc):
        import asyncio

        await asyncio.sleep(0)
        return doc[0].text

    endpoint = put([(model_type.SPACY, pipeline, {"post": post})])
    assert endpoint.predict(["Ada saw it"]) == ["Ada"]


def test_documents_go_on_into_the_next_stage(pipeline: Path, put: Any) -> None:
    def lengths(docs):
        return [len(doc) for doc in docs]

    endpoint = put([(model_type.SPACY, pipeline), (model_type.PYTHON, lengths)])
    assert endpoint.predict(["Ada saw it", "Ada"]) == [3, 1]


def test_texts_of_waiting_requests_are_joined_and_everyone_gets_their_own(
    pipeline: Path, put: Any
) -> None:
    endpoint = put([(model_type.SPACY, pipeline, {"post": labels})], replicas=1)
    texts = [f"Ada saw gate {n} of the Hoover Dam" for n in range(64)]
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda text: endpoint.predict([text]), texts))
    expected = [["Ada", "PERSON"], ["Hoover Dam", "PLACE"]]
    assert all(expected[1] in answer[0] for answer in found)
    assert found == [endpoint.predict([text]) for text in texts]


@pytest.mark.parametrize("data", [[1, 2], {"text": "Ada"}, [["Ada"]], 3, [None]])
def test_what_is_no_text_is_422_with_what_came(pipeline: Path, put: Any, data: Any) -> None:
    endpoint = put([(model_type.SPACY, pipeline)], "no-texts")
    answer = httpx2.post(
        str(endpoint), json=data, headers={"Authorization": str(endpoint._api_key)}, timeout=60
    )
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["stage"]) == (422, "input_mismatch", 1)
    assert "a text or a list of texts" in error["message"]


def test_a_folder_that_is_no_pipeline_says_what_is_missing(tmp_path: Path, server: Any) -> None:
    (tmp_path / "en_names" / "en_names-1.0").mkdir(parents=True)
    (tmp_path / "en_names" / "en_names-1.0" / "config.cfg").write_text("")
    flow = [(model_type.SPACY, tmp_path / "en_names")]
    with pytest.raises(LoadFailed, match=r"no config\.cfg") as caught:
        deploy(flow, "no-pipeline", server.keys["deploy"], server=server.url, quiet=True)
    assert "'en_names-1.0'" in str(caught.value.hint)
    with pytest.raises(PenstockError, match=r"no config\.cfg"):
        Conduit("here", None, flow).load()


COMPONENT = """
from spacy.language import Language
from spacy.tokens import Doc

Doc.set_extension("shouted", default=False)

@Language.component("shouting")
def shouting(doc):
    doc._.shouted = doc.text.isupper()
    return doc

def is_shouted(doc):
    return doc._.shouted
"""


def test_a_component_of_ones_own_travels_with_a_function_that_uses_its_module(
    put: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_components.py").write_text(COMPONENT)
    monkeypatch.syspath_prepend(str(tmp_path))
    import my_components

    nlp = spacy.blank("en")
    nlp.add_pipe("shouting")
    nlp.to_disk(tmp_path / "shouts")
    with pytest.raises(LoadFailed, match="E002") as caught:
        put([(model_type.SPACY, tmp_path / "shouts")])
    assert "use that module in a function" in str(caught.value.hint)

    def post(docs: list):
        return [my_components.is_shouted(doc) for doc in docs]

    endpoint = put([(model_type.SPACY, tmp_path / "shouts", {"post": post})])
    assert endpoint.predict(["HELLO", "hello"]) == [True, False]
