"""LitServe. argv: port max_batch_size batch_timeout_s workers_per_device api_servers"""

import sys

import flow
import litserve as ls
from fastapi import Request

args = (sys.argv[1:] + ["8000", "32", "0.001", "1", "1"][len(sys.argv) - 1 :])[:5]
PORT, BATCH, WAIT, WORKERS, FRONT = (
    int(args[0]),
    int(args[1]),
    float(args[2]),
    int(args[3]),
    int(args[4]),
)


class Tab(ls.LitAPI):
    def setup(self, device):
        self.f = flow.Tabular()

    def decode_request(self, request):
        return request

    def batch(self, inputs):
        return inputs

    def predict(self, x):
        return self.f.one(x) if BATCH == 1 else self.f.many(x)

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        return output


class Vis(Tab):
    def setup(self, device):
        self.f = flow.Vision()

    def decode_request(self, request: Request):
        return request["file"].file.read()

    def predict(self, x):
        return self.f.one(x)


class Echo(Tab):
    def setup(self, device):
        pass

    def predict(self, x):
        return x


if __name__ == "__main__":
    apis = [
        Tab(max_batch_size=BATCH, batch_timeout=WAIT, api_path="/ab"),
        Vis(api_path="/c"),
        Echo(max_batch_size=BATCH, batch_timeout=WAIT, api_path="/d"),
    ]
    ls.LitServer(
        apis,
        accelerator="cpu",
        workers_per_device=WORKERS,
        fast_queue=True,
        disable_openapi_url=True,
    ).run(
        host="127.0.0.1",
        port=PORT,
        num_api_servers=FRONT,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
        loop="uvloop",
        http="httptools",
    )
