"""Extra (e): the quickstart of scikit-learn, and the same with XGBoost's JSON."""

import os
import pickle

import xgboost
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

from penstock import deploy, model_api_request, model_type

iris = load_iris()

forest = RandomForestClassifier(10, random_state=1)
forest.fit(iris.data, iris.target)
with open("iris.pkl", "wb") as file:
    pickle.dump(forest, file)
endpoint = deploy((model_type.SKLEARN_CLASSIFIER, "iris.pkl"), "sk-iris", os.environ["PRIVATE_KEY"])
print("forest", model_api_request(endpoint, [[5.1, 3.5, 1.4, 0.2]], os.environ["PUBLIC_KEY"]))

trees = xgboost.XGBClassifier(n_estimators=10, max_depth=2, n_jobs=1)
trees.fit(iris.data, iris.target)
trees.save_model("iris.json")
endpoint = deploy(
    (model_type.XGBOOST_CLASSIFIER, "iris.json"), "xgb-iris", os.environ["PRIVATE_KEY"]
)
print("trees", model_api_request(endpoint, [[5.1, 3.5, 1.4, 0.2]], os.environ["PUBLIC_KEY"]))
