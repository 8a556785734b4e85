import pytest

from penstock.core.errors import MissingImports
from penstock.core.interpreter import Interpreter
from penstock.environments.check import Need, check, version_warnings
from penstock.environments.describe import EnvironmentInfo

SERVER = EnvironmentInfo(
    penstock="0.1.0",
    interpreter=Interpreter.current(),
    packages={"numpy": "2.4.6", "scikit-learn": "1.9.1"},
    modules=["json", "numpy", "sklearn"],
)


def refused(*needs):
    with pytest.raises(MissingImports) as caught:
        check(needs, SERVER)
    return caught.value


def test_what_the_server_has_or_gets_is_fine():
    needs = [Need(1, "pre", "numpy"), Need(1, "pre", "json"), Need(2, "post", "my_helpers")]
    check(needs, SERVER, travelling={"my_helpers"})


def test_a_missing_module_names_function_stage_and_package():
    error = refused(Need(2, "pre", "cv2"))
    assert error.message == (
        "`pre` of stage 2 imports `cv2`, which the server's environment does not have."
    )
    assert "pip install opencv-python-headless" in error.hint
    assert (error.stage, error.function) == (2, "pre")


@pytest.mark.parametrize(
    ("module", "distribution", "package"),
    [
        ("cv2", "opencv-python", "opencv-python-headless"),
        ("PIL", None, "pillow"),
        ("yaml", None, "pyyaml"),
        ("skimage", None, "scikit-image"),
        ("bs4", None, "beautifulsoup4"),
        ("dateutil", None, "python-dateutil"),
        ("dotenv", None, "python-dotenv"),
        ("google", None, "protobuf"),
        ("my_lib", "my-company-lib", "my-company-lib"),
        ("unheard_of", None, "unheard_of"),
    ],
)
def test_the_hint_names_what_to_install(module, distribution, package):
    assert refused(Need(1, "pre", module, distribution)).facts["packages"] == [package]


def test_everything_that_is_missing_is_named_at_once():
    error = refused(
        Need(1, "pre", "cv2"), Need(1, "pre", "bs4"), Need(1, "post", "numpy"), Need(2, None, "lgb")
    )
    assert "`pre` of stage 1 imports `cv2` and `bs4`" in error.message
    assert "The model of stage 2 refers to `lgb`" in error.message
    assert error.facts["modules"] == ["bs4", "cv2", "lgb"]


def test_of_thousands_that_are_missing_a_hundred_are_named():
    error = refused(*(Need(1, "pre", f"gone{number}") for number in range(5000)))
    assert len(error.facts["modules"]) == 100
    assert "gone99`" in error.message
    assert "gone100`" not in error.message


def test_a_pickle_of_another_minor_version_is_worth_a_warning():
    (text,) = version_warnings([Need(1, None, "sklearn", "scikit-learn", "1.5.2")], SERVER)
    assert "The model of stage 1 was saved with scikit-learn 1.5.2; the server has 1.9.1" in text
    assert not version_warnings([Need(1, None, "sklearn", "scikit-learn", "1.9.0")], SERVER)
