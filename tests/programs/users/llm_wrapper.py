"""T4: the wrapper by which a chain library talks to a language model, and a chain that uses it.

llm_wrapper.py URL QUESTION [STOP]
"""

import json
import os
import re
import sys

from penstock import model_api_request


class LLM:
    """What chains expect of a model: a call with a prompt and stop words."""

    def __call__(self, prompt, stop=None):
        return self._call(prompt, stop)


class CerebriumAI(LLM):
    def __init__(self, endpoint_url, model_kwargs=None, cerebriumai_api_key=None):
        self.endpoint_url = endpoint_url
        self.model_kwargs = model_kwargs or {}
        self.cerebriumai_api_key = cerebriumai_api_key or os.environ["CEREBRIUMAI_API_KEY"]

    def _call(self, prompt, stop=None):
        params = self.model_kwargs or {}
        response = model_api_request(
            self.endpoint_url, {"prompt": prompt, **params}, self.cerebriumai_api_key
        )
        if response["status_code"] != 200:
            raise ValueError(f"{response['status_code']}: {json.dumps(response['data'])}")
        text = response["data"]["result"]
        if stop is not None:
            text = re.split("|".join(stop), text, maxsplit=1)[0]
        return text


class QuestionChain:
    def __init__(self, llm):
        self.llm = llm

    def run(self, question, stop):
        return self.llm(f"Question: {question}\nAnswer:", stop)


if __name__ == "__main__":
    llm = CerebriumAI(endpoint_url=sys.argv[1], model_kwargs={"max_length": 20})
    try:
        print(QuestionChain(llm).run(sys.argv[2], sys.argv[3:] or None))
    except ValueError as error:
        print("failed", error)
