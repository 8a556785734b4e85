"""What workers print is kept within bounds and never hurts the server."""

from __future__ import annotations

import asyncio
import resource


def test_a_worker_that_prints_without_end_does_not_hold_up_others(run):
    async def test(bench):
        loud, quiet = await bench.start(), await bench.start()
        await bench.send(quiet, b"x")
        flood = bench.order(loud, "print", kib=256 * 1024, timeout_s=30)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        others = 0
        while not flood.done():
            assert (await bench.send(quiet, b"x")).body == b"x"
            others += 1
            await asyncio.sleep(0.002)
        assert flood.result().code == ""
        assert others > 10  # answered while it printed
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024
        await asyncio.sleep(0.1)
        lines = loud.logs()
        assert lines[-1] == "printed it all"
        assert len(lines) <= 200

    run(test)
