"""Case E without any server: copy the body, call the model, copy its answer. argv: seconds.

Run with Penstock's interpreter, on one thread. Prints p50 in milliseconds and calls a second.
"""

import io
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "servers"))
import flow
import numpy as np
import torch


def main():
    torch.set_num_threads(1)
    net = torch.jit.load(str(flow.WORK / "e.pt")).eval()
    body = (flow.WORK / "e.npy").read_bytes()
    offset = len(body) - 1000 * 100 * 4

    def call():
        x = np.frombuffer(bytearray(body), dtype=np.float32, offset=offset).reshape(1000, 100)
        with torch.inference_mode():
            out = net(torch.from_numpy(x)).numpy()
        buffer = io.BytesIO()
        np.save(buffer, out)
        return buffer.getvalue()

    for _ in range(50):
        call()
    taken, until = [], time.perf_counter() + float(sys.argv[1])
    while time.perf_counter() < until:
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    middle = sorted(taken)[len(taken) // 2]
    print(json.dumps({"p50_ms": middle * 1e3, "rps": len(taken) / sum(taken)}))


if __name__ == "__main__":
    main()
