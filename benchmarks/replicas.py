"""Times of a deploy, a wake and a replacement, and the memory of a replica: about 20 seconds.

python benchmarks/replicas.py
"""

import sys

import machine
from extras import replicas
from measure import Options
from models import ensure_models
from report import figures_table


def main() -> int:
    ensure_models()
    print(*machine.lines(machine.describe()), sep="\n")
    figures = replicas(Options(), lambda text: print(f"  {text}", flush=True))
    print("\n".join(figures_table(figures)))
    return 0 if all(figure.get("met", True) for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
