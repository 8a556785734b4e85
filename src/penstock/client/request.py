"""`model_api_request`: call any endpoint with nothing but its URL and a key.

Unlike `Endpoint.predict` it does not raise for an answer that is an error: it hands out status and
body as they came, for programs that look at them themselves.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx2

from penstock.client.config import Target, check_key, check_server
from penstock.client.responses import error_of
from penstock.client.session import session_for
from penstock.codec.request import encode_request


def model_api_request(
    model_endpoint: str, data: Any, api_key: str, files: Sequence[Any] | None = None
) -> dict[str, Any]:
    """Return `{"status_code": int, "data": body}` of a call, whatever the status.

    Args:
        model_endpoint: URL of the endpoint.
        data: Sent as it is, so a dict reaches the flow's first function unchanged (one with only
            the keys `data`, `parameters` and `webhook_endpoint` is read as an envelope). Arrays
            and tensors become lists.
        api_key: Key with predict scope.
        files: Files to send along, in the order of the data: paths, bytes or binary files.

    Returns:
        The status and the parsed body. A body that is not JSON (a proxy's page, say) is described
        as `{"error": {...}}`, like the server's own errors.

    Raises:
        ServerUnreachable: No server answers.
        DeadlineExceeded: No answer within the server's limit.
        MalformedBody: Something in `data` has no JSON form.
    """
    parts = urlsplit(str(model_endpoint))
    target = Target(
        server=check_server(f"{parts.scheme}://{parts.netloc}"), api_key=check_key(api_key)
    )
    request = encode_request(data, files=files)
    response = session_for(target).call(str(model_endpoint), request, None)
    return {"status_code": response.status_code, "data": _body(response)}


def _body(response: httpx2.Response) -> Any:
    try:
        return json.loads(response.content)
    except ValueError:
        return {"error": error_of(response).to_dict()}
