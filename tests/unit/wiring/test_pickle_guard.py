"""The server process cannot unpickle. Each case runs in a process: the hook stays for good."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import io, pickle, decimal
from penstock.core.errors import InternalError
from penstock.wiring import pickle_guard

data = pickle.dumps(decimal.Decimal(1))
assert not pickle_guard.is_armed()
assert pickle.loads(data) == 1
pickle_guard.install()
assert pickle_guard.is_armed()
try:
    {load}
except InternalError as error:
    print(error.message)
"""


@pytest.mark.parametrize(
    "load",
    [
        "pickle.loads(data)",
        "pickle._loads(data)",
        "pickle.Unpickler(io.BytesIO(data)).load()",
        "type('U', (pickle.Unpickler,), {})(io.BytesIO(data)).load()",
    ],
)
def test_an_armed_process_refuses_to_unpickle(load):
    command = [sys.executable, "-c", CODE.replace("{load}", load)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said.startswith("Unpickling decimal.Decimal was stopped")


def test_plain_values_are_no_danger_and_still_load():
    code = CODE.replace("{load}", "assert pickle.loads(pickle.dumps([1, 'a'])) == [1, 'a']")
    subprocess.run([sys.executable, "-c", code], check=True)
