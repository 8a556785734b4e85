"""How long the machine takes its cores away: p99 of a run says nothing where that is milliseconds.

  python benchmarks/pauses.py [seconds]

One process per core reads the clock in a loop; what passes between two readings is a pause.
"""

import os
import subprocess
import sys

_LOOP = """
import sys, time
now = time.perf_counter_ns
end = now() + int(float(sys.argv[1]) * 1e9)
last, longest = now(), 0
while last < end:
    here = now()
    longest = max(longest, here - last)
    last = here
print(longest / 1e6)
"""


def longest_ms(seconds: float) -> float:
    """Return the longest pause, in milliseconds, with every core busy for so long."""
    command = [sys.executable, "-c", _LOOP, str(seconds)]
    count = len(os.sched_getaffinity(0))
    loops = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    return max(float(loop.communicate()[0]) for loop in loops)


if __name__ == "__main__":
    given = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    print(f"longest pause in {given:g} s with every core busy: {longest_ms(given):.1f} ms")
