"""Extra (e): the quickstart of spaCy: the texts of the tokens."""

import os

import spacy

from penstock import deploy, model_api_request, model_type

nlp = spacy.blank("en")
nlp.to_disk("spacy/")


def post(doc):
    words = []
    for token in doc:
        words.append(token.text)
    return words


endpoint = deploy(
    [(model_type.SPACY, "spacy/", {"post": post})], "spacy-tokens", os.environ["PRIVATE_KEY"]
)
print(model_api_request(endpoint, ["This is a test"], os.environ["PUBLIC_KEY"])["data"]["result"])
