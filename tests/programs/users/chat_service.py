"""Extra (c): a service that takes the address from `.endpoint` and posts a list.

chat_service.py MODEL MESSAGE
"""

import os
import sys

import requests

from penstock import Conduit, model_type

conduit = Conduit(
    "chat-bot",
    os.environ["PRIVATE_KEY"],
    [(model_type.HUGGINGFACE_PIPELINE, {"task": "text-classification", "model": sys.argv[1]})],
)
conduit.deploy()
answer = requests.post(
    conduit.endpoint, headers={"Authorization": os.environ["PUBLIC_KEY"]}, json=[sys.argv[2]]
)
# The body is an object, and the list is under `result`.
print(answer.json()["result"][0]["label"])
