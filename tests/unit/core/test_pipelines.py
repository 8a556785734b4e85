"""The arguments of a HUGGINGFACE_PIPELINE stage: what travels, what is refused, and why."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from penstock.codec.model_code import code_in_folder
from penstock.core.errors import InvalidManifest, InvalidStage, MissingModelFile
from penstock.core.flow import Flow, ModelType
from penstock.core.pipelines import ARGUMENTS_FILE, PipelineSource


def parse(given):
    (stage,) = Flow.parse([(ModelType.HUGGINGFACE_PIPELINE, given)]).stages
    return stage.source


def test_folders_are_told_from_names_on_the_hub(tmp_path, monkeypatch):
    (tmp_path / "gpt").mkdir()
    monkeypatch.chdir(tmp_path)
    source = parse({"task": "text-generation", "model": "gpt", "tokenizer": "openai/gpt2"})
    assert source.folders == {"model": Path("gpt")}
    assert source.arguments == {"task": "text-generation", "tokenizer": "openai/gpt2"}
    assert source.from_hub == ["openai/gpt2"]
    assert source.title == "text-generation gpt"


def test_a_folder_alone_is_the_model(tmp_path):
    for given in (tmp_path, str(tmp_path), {"model": tmp_path}):
        assert parse(given).folders == {"model": tmp_path}
        assert parse(given).from_hub == []


def test_a_task_alone_takes_its_usual_model_from_the_hub():
    assert parse({"task": "fill-mask"}).from_hub == ["the usual model of the task"]


def test_defaults_of_the_call_travel_and_the_device_is_the_servers_choice():
    given = {"model": "gpt2", "max_new_tokens": 20, "stop_strings": ("a", "b"), "device": 0,
             "device_map": "auto", "dtype": torch.float16, "model_kwargs": {"a": torch.bfloat16},
             "tokenizer": None}  # fmt: skip
    assert parse(given).arguments == {
        "model": "gpt2", "max_new_tokens": 20, "stop_strings": ["a", "b"], "dtype": "float16",
        "model_kwargs": {"a": "bfloat16"},
    }  # fmt: skip


@pytest.mark.parametrize("given", ["./nowhere", Path("nowhere"), "/no/where/at/all", "~/nowhere"])
def test_a_folder_that_is_not_there_is_told_at_once(given):
    with pytest.raises(MissingModelFile, match=r"Stage 1 .*'model' is not there") as caught:
        parse({"model": given})
    assert "save_pretrained" in str(caught.value.hint)


def test_a_file_is_no_model(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"")
    with pytest.raises(MissingModelFile, match="is a file, not a folder"):
        parse({"model": path})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_new_tokens": 3}, "neither a task nor a model"),
        ({}, "neither a task nor a model"),
        (3, "the model is a int"),
        ({1: 2}, "the model is a dict"),
        ({"model": "gpt2", "token": "hf_abc"}, "'token' is a secret"),
        ({"model": torch.nn.Linear(1, 1)}, "'model' is a Linear"),
        ({"model": "gpt2", "pipeline_class": int}, "'pipeline_class' is a type"),
        ({"model": "gpt2", "a": {"b": [object()]}}, r"a\['b'\]\[0\]"),
    ],
)
def test_what_cannot_travel_is_refused_with_stage_and_argument(given, words):
    with pytest.raises(InvalidStage, match=words) as caught:
        parse(given)
    assert caught.value.stage == 1
    assert caught.value.hint


def test_the_secret_is_not_in_the_message():
    with pytest.raises(InvalidStage) as caught:
        parse({"model": "gpt2", "token": "hf_abc"})
    assert "hf_abc" not in f"{caught.value} {caught.value.hint}"


def test_what_is_written_into_a_bundle_is_read_back(tmp_path):
    (tmp_path / "here").mkdir()
    source = parse({"task": "t", "model": tmp_path / "here", "top_k": 3})
    (tmp_path / ARGUMENTS_FILE).write_bytes(source.to_json())
    read = PipelineSource.from_folder(tmp_path)
    assert read.arguments == source.arguments
    assert read.folders == {"model": tmp_path / "model"}


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"arguments": {}}', b'{"arguments": {}, "folders": ["../x"]}']
)
def test_a_description_that_is_none_is_refused(tmp_path, content):
    (tmp_path / ARGUMENTS_FILE).write_bytes(content)
    with pytest.raises(InvalidManifest, match=ARGUMENTS_FILE):
        PipelineSource.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "files", "words"),
    [
        ({}, {"model/model.safetensors": b""}, ""),
        ({"trust_remote_code": False}, {}, ""),
        ({"trust_remote_code": True}, {}, "trust_remote_code"),
        ({}, {"model/modeling.py": b""}, "modeling.py is code"),
        ({}, {"model/weights.pkl": b"\x80\x04N."}, "is a pickle"),
    ],
)
def test_a_pipeline_that_brings_code_is_told_from_its_files(tmp_path, arguments, files, words):
    source = PipelineSource({"model": "a/b", **arguments}, {})
    paths = {}
    for name, content in {**files, ARGUMENTS_FILE: source.to_json()}.items():
        paths[name] = tmp_path / str(len(paths))
        paths[name].write_bytes(content)
    found = code_in_folder("hf_pipeline", paths.items())
    assert words in found
    assert bool(found) is bool(words)
