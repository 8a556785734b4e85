"""Extra (b): prices of the next hour, from the 24 hours before. The model is in a registry.

price_predictor.py local|deploy|ask URL
"""

import os
import sys
import urllib.parse
import urllib.request

import requests

from penstock import Conduit, get_secret, model_type

FEATURES = [f"price_{hours}h_ago" for hours in range(24, 0, -1)]


def fetch_model():
    """Fetch the newest model; who may have it is in three secrets."""
    query = urllib.parse.urlencode({"project": get_secret("REGISTRY_PROJECT")})
    request = urllib.request.Request(
        f"{get_secret('REGISTRY_URL')}/prices.ubj?{query}",
        headers={"Authorization": f"ApiKey {get_secret('REGISTRY_API_KEY')}"},
    )
    with urllib.request.urlopen(request) as answer:
        return answer.read()


class PricePredictor:
    def setup(self):
        import xgboost

        self.model = xgboost.Booster()
        self.model.load_model(bytearray(fetch_model()))

    def predict(self, data):
        import numpy as np

        row = np.array([[data[name] for name in FEATURES]])
        return {"prediction": float(self.model.inplace_predict(row)[0])}


FLOW = [(model_type.PYTHON, PricePredictor)]


def yesterday():
    return {name: 40.0 + 1.5 * hour for hour, name in enumerate(FEATURES)}


def main(what):
    if what == "local":
        print("local", Conduit("prices", None, FLOW).run(yesterday())["prediction"])
    elif what == "deploy":
        print("endpoint", Conduit("prices", os.environ["PRIVATE_KEY"], FLOW).deploy())
    else:
        answer = requests.post(
            sys.argv[2], json=yesterday(), headers={"Authorization": os.environ["PUBLIC_KEY"]}
        )
        print("served", answer.json()["result"]["prediction"])


if __name__ == "__main__":
    main(sys.argv[1])
