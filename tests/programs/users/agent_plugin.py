"""Extra (a): a plugin of an agent platform. It posts by itself and tries again with jitter.

agent_plugin.py URL MESSAGE
"""

import os
import random
import sys
import time

import requests


def complete(url, message, tries=4):
    for attempt in range(tries):
        response = requests.post(
            url, headers={"Authorization": os.environ["PUBLIC_KEY"]}, json={"prompt": message}
        )
        if response.status_code < 500:
            break
        time.sleep(random.uniform(0, 0.02 * 2**attempt))
    return response.json().get("result"), attempt + 1


if __name__ == "__main__":
    result, tries = complete(sys.argv[1], sys.argv[2])
    print("result", result)
    print("tries", tries)
