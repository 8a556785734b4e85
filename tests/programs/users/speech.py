"""T2: speech recognition from base64 text.

    speech.py MODEL AUDIO...

`base64` is imported here, not in the function, and every request writes the same file name.
"""

import base64
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

from penstock import deploy, model_api_request, model_type


def pre(data):
    name = "audio.wav"
    with open(name, "wb") as file:
        file.write(base64.b64decode(data))
    return name


if __name__ == "__main__":
    endpoint = deploy(
        [
            (
                model_type.HUGGINGFACE_PIPELINE,
                {"task": "automatic-speech-recognition", "model": sys.argv[1]},
                {"pre": pre},
            )
        ],
        "hf-whisper",
        os.environ["PRIVATE_KEY"],
    )

    def transcribe(path):
        with open(path, "rb") as file:
            text = base64.b64encode(file.read()).decode()
        answer = model_api_request(endpoint, {"data": text}, os.environ["PUBLIC_KEY"])
        return answer["status_code"], answer["data"]["result"]["text"]

    with ThreadPoolExecutor(20) as pool:
        paths = sys.argv[2:]
        found = dict(zip(paths, pool.map(transcribe, paths), strict=True))
    print(json.dumps(found))
