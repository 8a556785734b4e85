"""T3: the deployment script of a course: a regressor, from a local pickle or from a registry.

sklearn_script.py --source local|registry [--models-dir DIR] [--registry URL]
"""

import argparse
import os
import sys
import urllib.request
from pathlib import Path

from penstock import deploy, model_type

MODEL_FILE = "lin_reg.pkl"


def fetch_from_registry(registry, models_dir):
    models_dir.mkdir(parents=True, exist_ok=True)
    with urllib.request.urlopen(f"{registry}/{MODEL_FILE}") as answer:
        (models_dir / MODEL_FILE).write_bytes(answer.read())


def deploy_model(models_dir):
    key = os.environ.get("PRIVATE_KEY")
    if key is None:
        print("PRIVATE_KEY is not set", file=sys.stderr)
        sys.exit(2)
    return deploy((model_type.SKLEARN, models_dir / MODEL_FILE), "sk-test-model", key)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", choices=["local", "registry"], default="local")
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--registry")
    arguments = parser.parse_args()
    if arguments.source == "registry":
        fetch_from_registry(arguments.registry, arguments.models_dir)
    print("endpoint", deploy_model(arguments.models_dir))


if __name__ == "__main__":
    main()
