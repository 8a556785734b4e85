"""Texts and documents of a SPACY stage: what `post` gets, and that joining changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import spacy
import tiny_models

from penstock.core.flow import ModelType as M
from penstock.flow.texts import for_one_text, takes_list


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return tiny_models.spacy_pipeline(tmp_path_factory.mktemp("spacy") / "names")


def entities(docs: list) -> Any:
    return [[ent.text for ent in doc.ents] for doc in docs]


TEXTS = ["Ada saw the Hoover Dam.", "very good", "Grace and Ada, very bad", "the gate was shut"]


@pytest.mark.parametrize("functions", [{}, {"post": entities}], ids=["view", "post"])
def test_texts_that_wait_together_are_joined_once_that_is_proven(worker, pipeline, functions):
    service = worker([(M.SPACY, pipeline, functions)])
    alone = [service.results([text])[0] for text in TEXTS]
    assert service.batching()[0]["state"] == "unproven"
    assert service.results(*[[text] for text in TEXTS]) == alone
    assert service.batching()[0]["state"] == "on", service.batching()
    assert service.results([TEXTS[0], TEXTS[1]], [TEXTS[2]]) == [alone[0] + alone[1], alone[2]]
    assert service.batching()[0]["joined_calls"] == 1


def test_a_text_that_is_too_long_fails_alone_and_says_the_limit(worker, tmp_path):
    nlp = spacy.blank("en")
    nlp.max_length = 20
    nlp.to_disk(tmp_path / "short")
    service = worker([(M.SPACY, tmp_path / "short")])
    error = service.error(["short", "x" * 2_000_000])
    assert error["code"] == "input_mismatch"
    assert "one of 2000000 characters in row 1" in error["message"]


def test_arrays_of_texts_from_a_function_are_texts(worker, pipeline):
    def pre(data):
        return np.array(data)

    service = worker([(M.SPACY, pipeline, {"pre": pre, "post": entities})])
    assert service.results(["Ada saw", "Grace"]) == [[["Ada"], ["Grace"]]]


def test_what_pre_made_wrong_names_pre(worker, pipeline):
    service = worker([(M.SPACY, pipeline, {"pre": lambda data: [1]})])
    error = service.error(["Ada"])
    assert (error["code"], error["stage"], error["function"]) == ("stage_mismatch", 1, "pre")


def test_an_empty_list_of_texts_gives_an_empty_list(worker, pipeline):
    assert worker([(M.SPACY, pipeline)]).results([]) == [[]]


def test_a_failing_post_is_named_by_its_own_name(worker, pipeline):
    def nonsense(doc):
        return doc.nothing

    error = worker([(M.SPACY, pipeline, {"post": nonsense})]).error(["Ada"])
    assert "nonsense()" in error["message"]
    assert error["type"] == "AttributeError"


def plain(docs): ...
def listed(docs: list): ...
def of_docs(docs: list[int]): ...
def sequence(docs: Sequence[int]): ...
def text(docs: list[Doc]): ...  # noqa: F821
def other(doc: int): ...
def real(docs): ...


# The annotations above are texts, because of the first import of this file.
real.__annotations__["docs"] = list[int]


@pytest.mark.parametrize(
    ("function", "expected"),
    [(plain, False), (listed, True), (of_docs, True), (sequence, True), (text, True),
     (real, True), (other, False), (len, False)],
)  # fmt: skip
def test_the_annotation_says_whether_a_post_takes_a_list(function, expected):
    assert takes_list(function) is expected
    assert (for_one_text(function) is function) is expected
