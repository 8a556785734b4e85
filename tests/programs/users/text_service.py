"""T1: a text-generation service that deploys its model the first time it is used.

    text_service.py REGISTRY MODEL PROMPT [TOKENS]

It remembers endpoints in a JSON file, and learns the endpoint of a new one from what the deploy
prints. By accident it deploys twice.
"""

import contextlib
import io
import json
import os
import sys

import requests

from penstock import Conduit, model_type


class TextGeneration:
    def __init__(self, registry, model, name="hf-gpt"):
        self.registry = registry
        self.name = name
        known = {}
        if os.path.exists(registry):
            with open(registry) as file:
                known = json.load(file)
        if name in known:
            self.url = known[name]
            return
        self.conduit = Conduit(
            name,
            os.environ["PRIVATE_KEY"],
            [
                (
                    model_type.HUGGINGFACE_PIPELINE,
                    {"task": "text-generation", "model": model, "max_new_tokens": 100},
                )
            ],
        )
        self.url = self.deploy()
        known[name] = self.url
        with open(registry, "w") as file:
            json.dump(known, file)
        print("deployed", self.conduit.deploy())

    def deploy(self):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            self.conduit.deploy()
        for line in printed.getvalue().splitlines():
            if line.startswith("🌍 Endpoint:"):
                return line.split("Endpoint:")[1].strip()
        raise RuntimeError("no endpoint in\n" + printed.getvalue())

    def generate(self, prompt, tokens):
        response = requests.post(
            self.url,
            headers={"Authorization": os.environ["PUBLIC_KEY"], "Content-Type": "application/json"},
            data=json.dumps({"data": prompt, "parameters": {"max_new_tokens": tokens}}),
        )
        if response.status_code == 200:
            print(json.dumps(response.json()))
        else:
            print(response.status_code, response.text)


if __name__ == "__main__":
    service = TextGeneration(sys.argv[1], sys.argv[2])
    print("url", service.url)
    service.generate(sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else 5)
