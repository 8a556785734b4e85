"""What is wrong with branches is told when the flow is written, with the stage and the branch."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from penstock import model_type as M
from penstock import parallel, switch
from penstock.core.errors import InvalidSignature, InvalidStage, MissingModelFile
from penstock.core.flow import Flow
from penstock.core.numbers import InBranch, place, timing_name
from penstock.core.signatures import POST_FORMS, PRE_FORMS, positional_count


def same(value):
    return value


PASS = (M.PYTHON, same)


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (parallel("ab"), "the branches of parallel are a str"),
        (parallel([]), "parallel has no branches"),
        (parallel({"a b": PASS}), "'a b' is no name"),
        (parallel([PASS], "median"), "combine is 'median'.*'mean', 'vote', 'concat'"),
        (parallel([PASS], 3), "combine is 3"),
        (switch(same, [PASS]), "a dict of flows by name"),
        (switch("a", {"a": PASS}), "choose is a str"),
        (switch(same, {"a": PASS}, "b"), "default 'b' is none of its branches"),
        ((parallel([PASS]), {"pre": same}, 1), "has 3 parts"),
        ((parallel([PASS]), {"before": same}), "unknown function keys"),
    ],
)
def test_a_stage_with_branches_that_makes_no_sense_is_refused(stage, words):
    with pytest.raises(InvalidStage, match=rf"Stage 2.*{words}"):
        Flow.parse([PASS, stage])


def test_what_is_wrong_inside_a_branch_is_told_with_the_branch():
    with pytest.raises(MissingModelFile, match=r"Stage 1 of branch 'b' of stage 1 .*no file"):
        Flow.parse(parallel({"a": PASS, "b": (M.TORCH, "absent.pt")}))
    with pytest.raises(InvalidSignature, match="post of stage 2 of branch '1' of stage 1"):
        Flow.parse(parallel([[PASS, (M.PYTHON, same, lambda: 1)]]))


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (switch(lambda: 1, {"a": PASS}), r"choose of stage 1.*choose\(data, files\)"),
        (parallel([PASS], lambda: 1), r"combine of stage 1.*combine\(results, input_data"),
        ((M.PYTHON, same, {"setup": same}), r"setup of stage 1 is same\(value\).*setup\(\)"),
    ],
)
def test_signatures_of_the_new_functions_are_checked(stage, words):
    with pytest.raises(InvalidSignature) as caught:
        Flow.parse([stage])
    assert __import__("re").search(words, str(caught.value), __import__("re").DOTALL)


def test_one_stage_with_branches_is_a_flow_with_and_without_its_tuple():
    for given in (parallel([PASS]), (parallel([PASS]), {"post": same}), [parallel([PASS])]):
        assert len(Flow.parse(given).stages) == 1
    assert len(Flow.parse((parallel([PASS]), parallel([PASS]))).stages) == 2


def test_walk_gives_all_stages_and_models_those_with_a_model():
    flow = Flow.parse([PASS, parallel({"a": [PASS, PASS], "b": []}), PASS])
    assert [place(n) for n, _ in flow.walk()] == ["1", "2", "2.a.1", "2.a.2", "3"]
    assert [place(n) for n, _ in flow.models()] == ["1", "2.a.1", "2.a.2", "3"]


def test_a_function_in_a_branch_that_takes_files_makes_the_flow_take_files():
    assert not Flow.parse(parallel([PASS])).uses_files
    assert Flow.parse(parallel([(M.PYTHON, same, {"pre": lambda d, f: d})])).uses_files
    assert Flow.parse(switch(lambda d, f: "a", {"a": PASS})).uses_files
    assert Flow.parse(parallel([PASS], lambda r, d, f: r)).uses_files


def test_a_number_in_a_branch_counts_as_the_flows_stage_and_reads_as_the_place():
    number = InBranch(InBranch(3, "x", 2), "y", 1)
    assert number == 3
    assert f"stage {number}" == "stage 1 of branch 'y' of stage 2 of branch 'x' of stage 3"
    assert place(number) == "3.x.2.y.1"
    assert timing_name(number) == "s3-x-s2-y-s1"
    for other in (copy.deepcopy(number), pickle.loads(pickle.dumps(number))):
        assert place(other) == place(number)


@pytest.mark.parametrize("function", [np.asarray, sum, np.argmax, np.exp], ids=lambda f: f.__name__)
def test_a_function_that_is_no_python_code_gets_its_required_arguments_only(function):
    assert positional_count(1, "pre", function, PRE_FORMS) == 1
    assert positional_count(1, "post", function, POST_FORMS) == 1


def test_a_builtin_without_a_signature_is_refused_with_what_to_do():
    with pytest.raises(InvalidSignature, match="wrap it in a function"):
        positional_count(1, "pre", max, PRE_FORMS)
