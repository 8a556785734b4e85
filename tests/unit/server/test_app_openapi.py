"""The API's description: complete, and true to the error table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import jsonschema

from penstock.server.routes import ENDPOINTS

Run = Callable[..., None]


def refs_in(value: Any) -> set[str]:
    return set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(value)))


def test_every_endpoint_is_described_and_every_reference_exists(on_site: Run) -> None:
    async def story(site: Any) -> None:
        found = (await site.call("GET", "/v1/openapi.json", "")).json()
        assert found["openapi"].startswith("3.1")
        for endpoint in ENDPOINTS:
            path = endpoint.path.replace(":int", "")
            operation = found["paths"][path][endpoint.method.lower()]
            named = {p["name"] for p in operation["parameters"]}
            assert named == set(re.findall(r"{(\w+)", path))
        assert refs_in(found) <= set(found["components"]["schemas"])

    on_site(story)


def test_the_descriptions_schemas_accept_real_answers(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        document = (await site.call("GET", "/v1/openapi.json", "")).json()
        for path, real in [
            ("/v1/{project}/{name}", "/v1/default/flow"),
            ("/v1/{project}", "/v1/default"),
            ("/v1/environment", "/v1/environment"),
            ("/v1/{project}/keys", "/v1/default/keys"),
        ]:
            good = document["paths"][path]["get"]["responses"]["200"]["content"]
            schema = {**good["application/json"]["schema"], "components": document["components"]}
            jsonschema.validate((await site.call("GET", real)).json(), schema)
        refused = (await site.call("GET", "/v1/default/absent")).json()
        schema = document["components"]["schemas"]["ErrorAnswer"]
        jsonschema.validate(refused, {**schema, "components": document["components"]})

    on_site(story)


def test_a_deployment_describes_its_forms_its_example_and_its_errors(on_site: Run) -> None:
    async def story(site: Any) -> None:
        await site.deploy()
        found = (await site.call("GET", "/v1/default/flow/openapi.json", "predict")).json()
        assert found["servers"] == [{"url": "http://here/v1/default/flow"}]
        operation = found["paths"]["/predict"]["post"]
        forms = operation["requestBody"]["content"]
        assert set(forms) == {
            "application/json",
            "multipart/form-data",
            "application/x-npy",
            "application/octet-stream",
        }
        assert forms["application/json"]["example"] == [[1, 2]]
        assert {"200", "400", "401", "404", "413", "422", "429", "500", "502", "503", "504"} <= set(
            operation["responses"]
        )
        assert refs_in(found) <= set(found["components"]["schemas"])

    on_site(story)
