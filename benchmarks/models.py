"""Makes the models, request bodies and expected answers when they are missing."""

import subprocess

from places import MODEL_FILES, OUR_PYTHON, SERVERS, WORK, environment, python_of


def ensure_models() -> None:
    """Run `servers/make_models.py` if a file is missing, in any environment with the frameworks.

    Raises:
        subprocess.CalledProcessError: It failed; it has said why.
    """
    WORK.mkdir(parents=True, exist_ok=True)
    if all((WORK / name).exists() for name in MODEL_FILES):
        return
    print("Making the models and request bodies ...", flush=True)
    python = str(python_of("base")) if python_of("base").exists() else OUR_PYTHON
    script = str(SERVERS / "make_models.py")
    subprocess.run([python, script], env=environment(), check=True, timeout=300)
