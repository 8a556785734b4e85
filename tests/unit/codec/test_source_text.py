import functools

from penstock.codec.source_text import source_of


def plain(data):
    return data


def wrap(function):
    @functools.wraps(function)
    def inner(data):
        return function(data)

    return inner


@wrap
def decorated(data):
    return data + 1


class Callable:
    def __call__(self, data):
        return data


first, second = (lambda data: data + 1), (lambda data: data + 2)
twin_one, twin_two = (lambda data: data), (lambda data: data)


def test_a_function_shows_its_text_base_name_and_line():
    found = source_of(plain)
    assert found.text == "def plain(data):\n    return data\n"
    assert found.file == "test_source_text.py"
    assert found.line == plain.__code__.co_firstlineno


def test_a_nested_function_is_dedented():
    def inner(data):
        return data

    assert source_of(inner).text == "def inner(data):\n    return data\n"


def test_a_wrapped_function_shows_what_is_beneath_with_its_decorator():
    assert source_of(decorated).text == "@wrap\ndef decorated(data):\n    return data + 1\n"


def test_each_of_two_lambdas_on_a_line_shows_itself():
    assert source_of(first).text == "lambda data: data + 1"
    assert source_of(second).text == "lambda data: data + 2"


def test_two_equal_lambdas_on_a_line_show_the_same_text():
    assert source_of(twin_one).text == "lambda data: data"


def test_a_lambda_inside_a_longer_call_is_cut_out():
    stages = [
        ("torch", {"pre": lambda data: data * 3}),
    ]
    assert source_of(stages[0][1]["pre"]).text == "lambda data: data * 3"


def test_a_callable_object_shows_its_class_and_a_partial_its_function():
    assert source_of(Callable()).text.startswith("class Callable:")
    assert source_of(functools.partial(plain)).text.startswith("def plain")
    assert source_of(Callable().__call__).text.startswith("def __call__")


def test_code_made_by_exec_has_no_source():
    space = {}
    exec("def f(data): return data", space)
    found = source_of(space["f"])
    assert (found.text, found.file) == (None, None)


def test_text_that_is_not_this_function_is_not_shown(tmp_path):
    path = tmp_path / "edited.py"
    path.write_text("def old(data):\n    return data\n")
    space = {}
    exec(compile(path.read_text(), str(path), "exec"), space)
    path.write_text("def new(data, files):\n    return data, files\n")
    assert source_of(space["old"]).text is None


def test_a_builtin_has_no_source():
    assert source_of(len).text is None
