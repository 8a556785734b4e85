"""Draws a run: for each case the answers a second at 16 and 64 clients, and p50 at one client.

python benchmarks/plot.py results.json [picture.png]
"""

import json
import sys
from pathlib import Path
from typing import Any

from cases import TITLES
from peers import PEERS
from places import HERE
from report import merge, ms, number

PICTURE = HERE.parent / "docs" / "images" / "benchmarks.png"

_OURS, _PEER, _OTHER, _TEXT, _FAINT = "#0f766e", "#9db2c7", "#d9dee5", "#1f2933", "#66727f"

#: Columns: clients, field, title, whether less is better.
_COLUMNS = (
    (1, "p50_ms", "1 client: p50, ms (less is better)", True),
    (16, "rps", "16 clients: answers a second", False),
    (64, "rps", "64 clients: answers a second", False),
)


def main() -> int:
    try:
        import matplotlib as mpl
    except ImportError:
        print("No plot: matplotlib is not installed (benchmarks/requirements.txt).")
        return 0
    mpl.use("Agg")
    data = json.loads(Path(sys.argv[1]).read_text())
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else PICTURE
    merged = merge(data["records"])
    merged.pop("in-process", None)
    cases = [c for c in "ABCD" if any(f"{c}64" in s["points"] for s in merged.values())]
    if not cases:
        print("No plot: the run has no case at 64 clients.")
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    draw(data, merged, cases, target)
    print(f"Plot: {target}")
    return 0


def draw(data: dict[str, Any], merged: dict[str, Any], cases: list[str], target: Path) -> None:
    """Write the picture: one row of three bar charts per case."""
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 8.5, "text.color": _TEXT})
    height = 0.62 + 0.185 * len(merged)
    figure, grid = plt.subplots(
        len(cases), len(_COLUMNS), figsize=(13, height * len(cases) + 0.9), squeeze=False
    )
    for row, case in zip(grid, cases, strict=True):
        for axes, column in zip(row, _COLUMNS, strict=True):
            _bars(axes, merged, case, column)
    for axes, column in zip(grid[0], _COLUMNS, strict=True):
        axes.annotate(column[2], (0, 1), (0, 24), xycoords="axes fraction",
                      textcoords="offset points", color=_FAINT, fontsize=9)  # fmt: skip
    facts = f"{data['machine_lines'][0]} · {data['date']}"
    figure.text(0.995, 0.004, facts, ha="right", va="bottom", color=_FAINT, fontsize=7.5)
    figure.tight_layout(rect=(0, 0.015, 1, 1), h_pad=1.6, w_pad=2.0)
    figure.savefig(target, dpi=130, facecolor="white")
    plt.close(figure)


def _bars(axes: Any, merged: dict[str, Any], case: str, column: tuple[int, str, str, bool]) -> None:
    clients, field, _, less = column
    key = f"{case}{clients}"
    found = [(n, s["points"][key][field]) for n, s in merged.items() if key in s["points"]]
    found.sort(key=lambda pair: pair[1], reverse=less)
    names = [name if _is_product(name) else f"({name})" for name, _ in found]
    values = [value for _, value in found]
    axes.barh(names, values, color=[_colour(name) for name, _ in found], height=0.72)
    most = max(values, default=1)
    for position, (name, value) in enumerate(found):
        text = ms(value) if less else number(value)
        axes.text(value + most * 0.012, position, text, va="center", fontsize=8,
                  color=_TEXT, fontweight="bold" if name == "penstock" else "normal")  # fmt: skip
    axes.set_xlim(0, most * 1.16)
    axes.set_title(f"{case} · {TITLES[case]}", loc="left", fontsize=9.5, fontweight="bold")
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0, colors=_TEXT)
    for side in axes.spines.values():
        side.set_visible(False)
    for label, (name, _) in zip(axes.get_yticklabels(), found, strict=True):
        label.set_fontweight("bold" if name == "penstock" else "normal")


def _is_product(name: str) -> bool:
    return name not in PEERS or PEERS[name].product


def _colour(name: str) -> str:
    if name == "penstock":
        return _OURS
    return _PEER if _is_product(name) else _OTHER


if __name__ == "__main__":
    sys.exit(main())
