"""Extra (d): a client that sends a picture as base64 in JSON, with the public key.

image_client.py URL PICTURE...
"""

import base64
import os
import sys

import requests

for path in sys.argv[2:]:
    with open(path, "rb") as file:
        picture = base64.b64encode(file.read()).decode("utf-8")
    answer = requests.post(
        sys.argv[1],
        headers={"Authorization": os.environ["PUBLIC_KEY"], "Content-Type": "application/json"},
        json={"image": picture},
    )
    print(answer.status_code, answer.json()["result"])
