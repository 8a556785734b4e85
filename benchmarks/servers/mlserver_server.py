"""MLServer custom runtime with adaptive batching, V2 JSON.

argv: port parallel_workers max_batch_size wait_s
"""

import json
import os
import sys
import tempfile
from pathlib import Path

HERE = str(Path(__file__).resolve().parent)

if __name__ != "__main__":
    import flow
    import orjson
    from fastapi import Request, Response
    from mlserver import MLModel
    from mlserver.handlers import custom_handler
    from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

    class Tab(MLModel):
        async def load(self):
            self.f = flow.Tabular()
            return True

        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            t = payload.inputs[0]
            data = t.data.root if hasattr(t.data, "root") else t.data.__root__
            out = self.f.one(flow.points(data, t.shape))
            n = len(out)
            return InferenceResponse(
                model_name=self.name,
                outputs=[
                    ResponseOutput(
                        name="label", shape=[n, 1], datatype="INT64", data=[o["label"] for o in out]
                    ),
                    ResponseOutput(
                        name="p", shape=[n, 1], datatype="FP64", data=[o["p"] for o in out]
                    ),
                ],
            )

    class Vis(MLModel):
        async def load(self):
            self.f = flow.Vision()
            return True

        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            raise NotImplementedError

        @custom_handler(rest_path="/c")
        async def image(self, request: Request) -> Response:
            return Response(
                orjson.dumps(self.f.one(flow.first_part(await request.body()))),
                media_type="application/json",
            )

    class Echo(MLModel):
        async def load(self):
            return True

        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            t = payload.inputs[0]
            return InferenceResponse(
                model_name=self.name,
                outputs=[ResponseOutput(name="x", shape=t.shape, datatype="FP32", data=t.data)],
            )
else:
    args = (sys.argv[1:] + ["8000", "0", "32", "0.001"][len(sys.argv) - 1 :])[:4]
    d = Path(tempfile.mkdtemp(prefix="penstock-bench-mls-"))
    port = int(args[0])
    (d / "settings.json").write_text(
        json.dumps(
            {
                "debug": False,
                "host": "127.0.0.1",
                "http_port": port,
                "grpc_port": port + 1,
                "metrics_port": port + 2,
                "metrics_endpoint": None,
                "parallel_workers": int(args[1]),
                "gzip_enabled": False,
                "metrics_dir": str(d),
            }
        )
    )
    for name, cls in (("tab", "Tab"), ("vis", "Vis"), ("echo", "Echo")):
        (d / name).mkdir()
        conf = {"name": name, "implementation": f"mlserver_server.{cls}"}
        if name == "tab" and int(args[2]) > 1:
            conf.update(max_batch_size=int(args[2]), max_batch_time=float(args[3]))
        (d / name / "model-settings.json").write_text(json.dumps(conf))
    os.environ["PYTHONPATH"] = HERE
    os.execv(
        sys.executable,
        [sys.executable, "-c", "from mlserver.cli import main; main()", "start", str(d)],
    )
