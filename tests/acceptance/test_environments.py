"""Environments of versions, as a deployer meets them: built, shared, refused with reasons, kept.

The packages are small but for two: the scikit-learns that cannot live together, and chitra, the
library that works only with the right pins.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import sklearn.datasets
from PIL import Image

from penstock import Endpoint, PenstockError, deploy, model_type
from penstock.core.errors import EnvironmentFailed, InvalidRequirement, MissingImports

DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def cached(package_cache: Path) -> dict[str, str]:
    """Settings of a server whose downloads are kept between runs."""
    return {"PENSTOCK_PACKAGE_CACHE": str(package_cache)}


def environments(server: Any) -> list[dict[str, Any]]:
    headers = {"Authorization": server.keys["admin"]}
    answer = httpx2.get(f"{server.url}/v1/environments", headers=headers, timeout=30)
    return answer.json()["environments"]


def wait_until(holds: Callable[[], Any]) -> Any:
    end = time.monotonic() + DEADLINE_S
    while not (found := holds()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def versions(data: Any) -> Any:
    """Say which colorama a worker has, and where."""
    import sys

    import colorama

    return {"colorama": colorama.__version__, "prefix": sys.prefix, "data": data}


FLOW = [(model_type.PYTHON, versions)]


def wheel(folder: Path, name: str, version: str, code: str, requires: str = "") -> Path:
    """Write a wheel of one module."""
    module = name.replace("-", "_")
    path = folder / f"{module}-{version}-py3-none-any.whl"
    info = f"{module}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{module}.py", code)
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", f"{module}.py,,\n{info}/METADATA,,\n{info}/RECORD,,\n")
    return path


def test_a_version_runs_with_the_packages_it_asks_for(put: Any, server: Any) -> None:
    endpoint = put(FLOW, requirements=["colorama==0.4.5"], example=[1])
    answer = endpoint.predict([1, 2])
    assert answer["colorama"] == "0.4.5"
    assert answer["data"] == [1, 2]
    assert answer["prefix"].startswith(str(server.data))


def test_the_same_requirements_are_not_built_again_and_share_one_environment(
    put: Any, server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    key = server.keys["deploy"]
    first = put(FLOW, requirements=["colorama==0.4.4"])
    before = {e["key"] for e in environments(server)}
    second = deploy(FLOW, "env-shared", key, server=server.url, requirements=["colorama==0.4.4"])
    shown = capsys.readouterr().out
    assert "there already" in shown
    assert "Resolved" not in shown
    assert {e["key"] for e in environments(server)} == before
    assert first.predict([])["prefix"] == second.predict([])["prefix"]
    second.delete()


def test_the_builds_lines_are_shown_to_the_deployer(
    server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint = deploy(
        FLOW, "env-lines", server.keys["deploy"], server=server.url,
        requirements=["colorama==0.4.3"],
    )  # fmt: skip
    shown = capsys.readouterr().out
    assert "Environment for Python" in shown
    assert "+ colorama==0.4.3" in shown
    assert "packages, built in" in shown
    endpoint.delete()


def test_a_rebuild_that_is_forced_gives_the_version_an_environment_of_its_own(
    put: Any, server: Any
) -> None:
    asked = {"requirements": ["colorama==0.4.2"]}
    first = put(FLOW, **asked).predict([])["prefix"]
    forced = put(FLOW, **asked, force_rebuild=True)
    assert forced.predict([])["prefix"] != first
    assert put(FLOW, **asked).predict([])["prefix"] == forced.predict([])["prefix"]


def test_what_the_resolver_says_is_what_the_deployer_reads(put: Any, server: Any) -> None:
    endpoint = put(FLOW, "env-kept", requirements=["colorama==0.4.5"])
    with pytest.raises(EnvironmentFailed) as caught:
        put(FLOW, "env-kept", requirements=["colorama==0.4.5", "colorama<0.4"])
    assert "No solution found" in caught.value.message
    assert "colorama<0.4" in caught.value.message
    assert "loosen" in str(caught.value.hint)
    assert endpoint.predict([])["colorama"] == "0.4.5"
    failed = httpx2.get(
        endpoint.url.removesuffix("predict") + "versions/2",
        headers={"Authorization": server.keys["deploy"]},
    ).json()
    assert (failed["state"], failed["failure"]["code"]) == ("failed", "environment_failed")


def test_a_package_that_nobody_has_is_named_with_what_to_do(put: Any) -> None:
    with pytest.raises(EnvironmentFailed, match="penstock-no-such-package") as caught:
        put(FLOW, requirements=["penstock-no-such-package"])
    assert "Check name and version" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("./mine", "is a path"),
        ("-e .", "editable"),
        ("--index-url https://example.org", "setting of the server"),
        ("colorama==", None),
        ("two words", "no requirement"),
    ],
)
def test_requirements_that_cannot_be_taken_are_refused_with_reasons(
    put: Any, line: str, says: str | None
) -> None:
    kind = InvalidRequirement if says else EnvironmentFailed
    with pytest.raises(kind) as caught:
        put(FLOW, requirements=[line])
    assert (says or "colorama==") in caught.value.message


def test_a_requirements_file_is_read_as_pip_reads_it(put: Any, tmp_path: Path) -> None:
    (tmp_path / "base.txt").write_text("colorama \\\n  ==0.4.5  # pinned\n")
    (tmp_path / "requirements.txt").write_text("# ours\n\n-r base.txt\n")
    endpoint = put(FLOW, requirements_file=tmp_path / "requirements.txt")
    assert endpoint.predict([])["colorama"] == "0.4.5"


def test_a_function_that_imports_what_is_not_asked_for_is_refused_before_it_serves(
    put: Any,
) -> None:
    def pre(data: Any) -> Any:
        import penstock_missing_module

        return penstock_missing_module.f(data)

    with pytest.raises(MissingImports) as caught:
        put([(model_type.PYTHON, versions, {"pre": pre})], requirements=["colorama==0.4.5"])
    assert "`pre` of stage 1 imports `penstock_missing_module`" in caught.value.message
    assert 'Add "penstock_missing_module" to requirements' in str(caught.value.hint)


def test_a_wheel_of_the_users_own_travels_with_the_flow(put: Any, tmp_path: Path) -> None:
    own = wheel(tmp_path, "penstock-secret-sauce", "1.5", "def taste(): return 'salty'\n")

    def cook(data: Any) -> Any:
        import penstock_secret_sauce

        return [penstock_secret_sauce.taste(), *data]

    endpoint = put([(model_type.PYTHON, cook)], requirements=[str(own)])
    assert endpoint.predict(["x"]) == ["salty", "x"]


def test_a_library_that_is_broken_inside_is_reported_at_deploy(put: Any, tmp_path: Path) -> None:
    code = "import penstock_undeclared\n"
    own = wheel(tmp_path, "penstock-careless", "1.0", code)

    def use(data: Any) -> Any:
        import penstock_careless

        return penstock_careless

    with pytest.raises(MissingImports) as caught:
        put([(model_type.PYTHON, use)], requirements=[str(own)])
    assert "No module named 'penstock_undeclared'" in caught.value.message
    assert "does not say so in its own requirements" in str(caught.value.hint)


def test_a_folder_of_wheels_serves_a_server_without_network(
    start_server: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel(folder, "penstock-offline-thing", "2.0", "VERSION = '2.0'\n")
    command = [sys.executable, "-m", "pip", "-q", "download", "--only-binary=:all:", "-d"]
    subprocess.run([*command, str(folder), "cloudpickle", "msgspec", "numpy"], check=True)
    live = start_server(
        environment={
            "PIP_CONFIG_FILE": os.devnull,
            "PENSTOCK_PACKAGE_OFFLINE": "on",
            "PENSTOCK_PACKAGE_FOLDERS": str(folder),
            "PENSTOCK_PACKAGE_CACHE": str(tmp_path / "empty-cache"),
        }
    )

    def use(data: Any) -> Any:
        import penstock_offline_thing

        return [penstock_offline_thing.VERSION]

    flow = [(model_type.PYTHON, use)]
    key = live.keys["deploy"]
    asked: dict[str, Any] = {"server": live.url, "quiet": True}
    endpoint = deploy(flow, "offline", key, requirements=["penstock-offline-thing"], **asked)
    assert endpoint.predict([]) == ["2.0"]
    with pytest.raises(EnvironmentFailed) as caught:
        deploy(flow, "offline", key, requirements=["penstock-offline-thing", "flask"], **asked)
    assert "flask" in caught.value.message
    assert "PENSTOCK_PACKAGE_FOLDERS" in str(caught.value.hint)


def test_pips_own_configuration_says_where_packages_come_from(
    start_server: Any, tmp_path: Path, cached: dict[str, str]
) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel(folder, "penstock-of-pip", "3.0", "VERSION = '3.0'\n")
    settings = tmp_path / "pip.conf"
    settings.write_text(f"[install]\nfind-links =\n    {folder}\n")
    live = start_server(
        environment={**cached, "PIP_CONFIG_FILE": str(settings), "PIP_FIND_LINKS": ""}
    )

    def use(data: Any) -> Any:
        import penstock_of_pip

        return [penstock_of_pip.VERSION]

    endpoint = deploy(
        [(model_type.PYTHON, use)], "of-pip", live.keys["deploy"], server=live.url, quiet=True,
        requirements=["penstock-of-pip"],
    )  # fmt: skip
    assert endpoint.predict([]) == ["3.0"]


def test_what_only_a_gpu_can_use_is_refused_before_it_is_downloaded(
    start_server: Any, tmp_path: Path, cached: dict[str, str]
) -> None:
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel(folder, "nvidia-cublas-cu99", "1.0", "")
    wheel(folder, "penstock-cuda-thing", "1.0", "", requires="nvidia-cublas-cu99")
    live = start_server(
        environment={**cached, "PENSTOCK_PACKAGE_FOLDERS": str(folder),
                     "PENSTOCK_PACKAGE_CUDA": "off"}
    )  # fmt: skip
    with pytest.raises(EnvironmentFailed, match="nvidia-cublas-cu99") as caught:
        deploy(
            FLOW, "heavy", live.keys["deploy"], server=live.url, quiet=True,
            requirements=["penstock-cuda-thing"],
        )  # fmt: skip
    assert "Nothing was downloaded" in caught.value.message
    assert "xgboost-cpu" in str(caught.value.hint)


def fit(data: Any) -> Any:
    """Fit a forest and return it pickled, with what it answers to the rows of `data`."""
    import base64
    import pickle

    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(20, random_state=0).fit(*load_iris(return_X_y=True))
    answer = model.predict_proba(data).tolist()
    return {"pickle": base64.b64encode(pickle.dumps(model)).decode(), "answer": answer}


OLD = ["scikit-learn==1.2.2", "numpy<2"]
NEW = ["scikit-learn==1.7.2"]
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]


@pytest.fixture(scope="module")
def forests(put_once: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A forest that each of two scikit-learns fitted and pickled, with its answers."""
    found = {}
    folder = tmp_path_factory.mktemp("forests")
    for name, requirements in (("old", OLD), ("new", NEW)):
        endpoint = put_once([(model_type.PYTHON, fit)], f"fit-{name}", requirements=requirements)
        made = endpoint.predict(ROWS)
        path = folder / f"{name}.pkl"
        path.write_bytes(base64.b64decode(made["pickle"]))
        found[name] = (path, made["answer"])
    return found


def test_two_scikit_learns_that_cannot_live_together_serve_side_by_side(
    forests: dict[str, Any], put: Any
) -> None:
    served = {
        name: put([(model_type.SKLEARN_CLASSIFIER, forests[name][0])], requirements=requirements)
        for name, requirements in (("old", OLD), ("new", NEW))
    }
    for name, endpoint in served.items():
        assert endpoint.predict(ROWS) == forests[name][1]


def test_a_pickle_of_another_scikit_learn_is_named_before_the_stack_trace(
    forests: dict[str, Any], server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PenstockError) as caught:
        deploy(
            [(model_type.SKLEARN_CLASSIFIER, forests["old"][0])], "env-mismatch",
            server.keys["deploy"], server=server.url, example=ROWS, check_locally=False,
        )  # fmt: skip
    assert "saved with scikit-learn 1.2.2" in capsys.readouterr().out
    text = str(caught.value)
    assert text.startswith("The model of stage 1 was saved with scikit-learn 1.2.2")
    assert 'requirements=["scikit-learn==1.2.2"]' in str(caught.value.hint)


def test_a_library_made_for_an_older_numpy_is_told_by_its_own_failure(
    forests: dict[str, Any], put: Any
) -> None:
    flow = [(model_type.SKLEARN_CLASSIFIER, forests["old"][0])]
    with pytest.raises(EnvironmentFailed) as caught:
        put(flow, requirements=["scikit-learn==1.2.2", "numpy>=2"])
    assert "The model of stage 1 imports `sklearn`" in caught.value.message
    assert 'add "numpy<2" to requirements' in str(caught.value.hint)


def colour(data: Any, files: Any) -> Any:
    """Return the mean colour of each photo, as chitra reads it."""
    import tempfile

    from chitra.image import Chitra

    rows = []
    for file in files:
        with tempfile.NamedTemporaryFile(suffix=".jpg") as copy:
            copy.write(file.read())
            copy.flush()
            rows.append(Chitra(copy.name).numpy().mean(axis=(0, 1)).tolist())
    return rows


def name_colours(rows: Any) -> Any:
    return [dict(zip(("red", "green", "blue"), row, strict=True)) for row in rows]


CHITRA = [(model_type.PYTHON, name_colours, {"pre": colour})]
PHOTO = Path(str(sklearn.datasets.__file__)).parent / "images" / "china.jpg"
PINS = ["chitra==0.2.0", "requests", "numpy<2"]
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "environments.md"


def test_chitra_without_pins_says_which_pins_it_needs(put: Any) -> None:
    with pytest.raises(MissingImports) as caught:
        put(CHITRA)
    assert 'requirements=["chitra", "requests", "numpy<2"]' in str(caught.value.hint)
    with pytest.raises(MissingImports) as caught:
        put(CHITRA, requirements=["chitra"])
    assert "`pre` of stage 1 imports `chitra.image`" in caught.value.message
    assert "No module named 'requests'" in caught.value.message
    assert 'requirements=["chitra", "requests", "numpy<2"]' in str(caught.value.hint)
    with pytest.raises(EnvironmentFailed) as failed:
        put(CHITRA, requirements=["chitra", "requests"])
    assert "NumPy 2.0" in failed.value.message
    assert 'add "numpy<2" to requirements' in str(failed.value.hint)


def test_chitra_with_the_right_pins_answers_on_a_real_photo(put: Any) -> None:
    assert f'deploy(flow, "photos", requirements={json.dumps(PINS)})' in PAGE.read_text()
    endpoint = put(CHITRA, requirements=PINS, example=["china"], example_files=[PHOTO])
    (found,) = endpoint.predict(["china"], files=[PHOTO])
    pixels = np.asarray(Image.open(PHOTO).convert("RGB"), dtype=float)
    own = dict(zip(("red", "green", "blue"), pixels.mean(axis=(0, 1)), strict=True))
    assert found == pytest.approx(own, abs=0.5)


def worker_pids(endpoint: Endpoint, key: str) -> list[int]:
    url = endpoint.url.removesuffix("/predict")
    found = httpx2.get(url, headers={"Authorization": key}, timeout=30).json()
    return [replica["pid"] for replica in found["replicas"]]


def test_a_worker_that_is_killed_comes_back_in_its_environment(put: Any, server: Any) -> None:
    endpoint = put(FLOW, requirements=["colorama==0.4.5"], replicas=1)
    before = worker_pids(endpoint, server.keys["deploy"])
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: worker_pids(endpoint, server.keys["deploy"]) not in ([], before))
    assert endpoint.predict([])["colorama"] == "0.4.5"


def test_a_version_in_its_own_environment_sleeps_and_wakes(put: Any, server: Any) -> None:
    endpoint = put(FLOW, requirements=["colorama==0.4.6"], min_replicas=0, cooldown=0.2)
    prefix = endpoint.predict([])["prefix"]
    wait_until(lambda: not worker_pids(endpoint, server.keys["deploy"]))
    wait_until(lambda: not processes_of(prefix))  # its zygote rests too
    assert endpoint.predict([])["colorama"] == "0.4.6"
    assert processes_of(prefix)


def processes_of(prefix: str) -> list[int]:
    """Return the processes whose interpreter is in the environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if command.startswith(prefix.encode()):
            found.append(int(process.name))
    return found


def test_workers_that_are_spawned_run_in_it_too(start_server: Any, cached: dict[str, str]) -> None:
    live = start_server(environment={**cached, "PENSTOCK_START_METHOD": "spawn"})
    endpoint = deploy(
        FLOW, "spawned", live.keys["deploy"], server=live.url, quiet=True,
        requirements=["colorama==0.4.5"],
    )  # fmt: skip
    assert endpoint.predict([])["colorama"] == "0.4.5"


def test_a_python_version_is_taken_or_refused_with_reasons(put: Any) -> None:
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert put(FLOW, python_version=minor, requirements=["colorama==0.4.5"]).predict([])
    with pytest.raises(PenstockError, match=r"python_version is '3\.99'") as caught:
        put(FLOW, python_version="3.99")
    assert caught.value.code == "interpreter_mismatch"
    with pytest.raises(InvalidRequirement, match="python_version"):
        put(FLOW, python_version="newest")


def test_a_restarted_server_finds_its_environments_and_builds_what_is_gone(
    launch_server: Any, cached: dict[str, str], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    live = launch_server(data, cached)
    key = live.keys["deploy"]
    made = deploy(FLOW, "again", key, server=live.url, quiet=True, requirements=["colorama==0.4.5"])
    (environment,) = environments(live)
    live.kill()
    built = data / "environments" / environment["key"] / "built.json"
    stamp = built.stat().st_mtime_ns
    for gone in (False, True):
        if gone:
            built.parent.chmod(0o700)
            built.unlink()
        live = launch_server(data, cached)
        url = made.url.replace(httpx2.URL(made.url).netloc.decode(), live.url.split("//")[1])
        endpoint = Endpoint(url, key)
        wait_until(lambda endpoint=endpoint: _answers(endpoint))
        assert (built.stat().st_mtime_ns == stamp) != gone
        assert live.stop() == 0, live.log


def _answers(endpoint: Endpoint) -> bool:
    try:
        return endpoint.predict([])["colorama"] == "0.4.5"
    except PenstockError:
        return False


def test_an_environment_goes_after_its_last_version(
    start_server: Any, cached: dict[str, str]
) -> None:
    live = start_server(environment={**cached, "PENSTOCK_ENVIRONMENT_GRACE_S": "0.4"})
    key = live.keys["deploy"]
    options: dict[str, Any] = {"server": live.url, "quiet": True}
    kept = deploy(FLOW, "kept", key, requirements=["colorama==0.4.4"], **options)
    gone = deploy(FLOW, "gone", key, requirements=["colorama==0.4.5"], **options)
    also = deploy(FLOW, "also", key, requirements=["colorama==0.4.5"], **options)
    assert len(environments(live)) == 2
    gone.delete()
    assert also.predict([])["colorama"] == "0.4.5"
    also.delete()
    wait_until(lambda: len(environments(live)) == 1)
    assert kept.predict([])["colorama"] == "0.4.4"
    assert json.loads(httpx2.get(f"{live.url}/readyz").text)["stores"] == "ok"
