"""From the records of all rounds to medians, tables, ratios to the best peer, and `results.md`."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cases import TITLES
from peers import PEERS
from places import HERE

Record = dict[str, Any]

#: Goals at 16 and 64 clients; at 1 client the goal is the lowest p50.
LEAD = 1.3


def merge(records: Sequence[Record]) -> dict[str, Record]:
    """Return the medians over the rounds, by system, in the order first met."""
    merged: dict[str, Record] = {}
    for record in records:
        system = merged.setdefault(
            record["system"], {"rounds": {}, "checks": {}, "cold": [], "pss": [], "failed": []}
        )
        for key, point in record["points"].items():
            system["rounds"].setdefault(key, []).append(point)
        for case, wrong in record.get("checks", {}).items():
            system["checks"][case] = system["checks"].get(case) or wrong
        if "cold_s" in record:
            system["cold"].append(record["cold_s"])
        if "memory" in record:
            system["pss"].append(record["memory"]["pss"])
        if "failed" in record:
            system["failed"].append(record["failed"])
    for system in merged.values():
        system["loud"] = sum(
            p.get("others", 0) > 0.15 for r in system["rounds"].values() for p in r
        )
        system["points"] = {key: _middle(points) for key, points in system["rounds"].items()}
    return merged


def _middle(points: Sequence[Record]) -> Record:
    names = ("rps", "p50_ms", "p99_ms", "cpu_us")
    middle = {name: statistics.median(point[name] for point in points) for name in names}
    middle["errors"] = sum(point["errors"] for point in points)
    middle["spread"] = max(p["rps"] for p in points) / max(1e-9, min(p["rps"] for p in points))
    return middle


def best_peer(merged: dict[str, Record], key: str, field: str) -> tuple[str, float] | None:
    """Return the best product at a point over all peers and settings; None if none was measured.

    A point with errors does not count.
    """
    found = [
        (name, system["points"][key][field])
        for name, system in merged.items()
        if name in PEERS and PEERS[name].product and key in system["points"]
        and not system["points"][key]["errors"]
    ]  # fmt: skip
    if not found:
        return None
    choose = max if field == "rps" else min
    return choose(found, key=lambda pair: pair[1])


# --- tables ---


def tables(merged: dict[str, Record], cases: str, clients: Sequence[int]) -> list[str]:
    """Return a table for each case, Penstock first."""
    lines: list[str] = []
    for case in filter(TITLES.__contains__, cases):
        rows = [_row(name, system, case, clients) for name, system in _ours_first(merged)]
        if any(rows):
            lines += ["", f"#### {case}: {TITLES[case]}", "", *_heading(clients)]
            lines += [row for row in rows if row]
    return lines


def _ours_first(merged: dict[str, Record]) -> list[tuple[str, Record]]:
    return sorted(merged.items(), key=lambda pair: (pair[0] != "penstock", pair[0]))


def _heading(clients: Sequence[int]) -> list[str]:
    columns = ["system"]
    for count in clients:
        many = "1 client" if count == 1 else f"{count} clients"
        columns += [f"{many}, req/s", "p50 / p99 ms"]
    columns += ["CPU µs per request", "errors"]
    return ["| " + " | ".join(columns) + " |", "|---" + "|--:" * (len(columns) - 1) + "|"]


def _row(name: str, system: Record, case: str, clients: Sequence[int]) -> str:
    points = [system["points"].get(f"{case}{count}") for count in clients]
    label = name if name not in PEERS or PEERS[name].product else f"({name})"
    if not any(points):
        wrong = system["checks"].get(case) or next(iter(system["failed"]), "")
        return f"| {label} | {wrong[:90]} |" if wrong else ""
    cells = []
    for point in points:
        if point is None:
            cells += ["-", "-"]
        else:
            cells += [number(point["rps"]), f"{ms(point['p50_ms'])} / {ms(point['p99_ms'])}"]
    cpu = " / ".join(number(point["cpu_us"]) if point else "-" for point in points)
    errors = sum(point["errors"] for point in points if point)
    return "| " + " | ".join([label, *cells, cpu, str(errors)]) + " |"


def lead_table(merged: dict[str, Record], cases: str, clients: Sequence[int]) -> list[str]:
    """Return Penstock against the best peer at each point, and whether the goal is met."""
    ours = merged.get("penstock", {"points": {}})["points"]
    lines = []
    for case in cases:
        for count in clients:
            line = _lead_line(merged, ours, case, count)
            if line:
                lines.append(line)
    if not lines:
        return []
    return [
        "",
        "#### Against the best peer at each point",
        "",
        "| case | clients | Penstock | best peer | ratio | goal | p99: ours / that peer's | met |",
        "|---|--:|--:|---|--:|---|--:|---|",
        *lines,
    ]


def _lead_line(merged: dict[str, Record], ours: Record, case: str, count: int) -> str:
    key = f"{case}{count}"
    field = "p50_ms" if count == 1 else "rps"
    best = best_peer(merged, key, field)
    if key not in ours or best is None:
        return ""
    name, theirs = best
    point, peer_p99 = ours[key], merged[name]["points"][key]["p99_ms"]
    mine = point[field]
    if count == 1:
        ratio, shown, peer = mine / theirs, f"{ms(mine)} ms", f"{ms(theirs)} ms"
        goal, met = "p50 < every peer's", mine < theirs
    else:
        ratio, shown, peer = mine / theirs, f"{number(mine)}/s", f"{number(theirs)}/s"
        goal = f"≥ {LEAD}" if case == "C" else f"≥ {LEAD}, lower p99"
        met = ratio >= LEAD and (case == "C" or point["p99_ms"] < peer_p99)
    p99 = f"{ms(point['p99_ms'])} / {ms(peer_p99)} ms"
    said = "yes" if met and not point["errors"] else "**no**"
    cells = [case, str(count), shown, f"{name} {peer}", f"{ratio:.2f}", goal, p99, said]
    return "| " + " | ".join(cells) + " |"


def footprint(merged: dict[str, Record]) -> list[str]:
    """Return memory and cold start of each system."""
    lines = []
    for name, system in _ours_first(merged):
        if system["pss"] and system["cold"]:
            pss, cold = statistics.median(system["pss"]), statistics.median(system["cold"])
            lines.append(f"| {name} | {number(pss)} | {cold:.2f} |")
    head = [
        "",
        "#### Footprint",
        "",
        "| system | memory (PSS) MB | cold start s |",
        "|---|--:|--:|",
    ]
    return [*head, *lines] if lines else []


def figures_table(figures: Sequence[Record]) -> list[str]:
    """Return the figures of the cases that only Penstock runs."""
    lines = ["", "| figure | value | goal | met |", "|---|--:|---|---|"]
    for figure in figures:
        what = figure["what"]
        if "skipped" in figure or "failed" in figure:
            kind = "skipped" if "skipped" in figure else "failed"
            lines.append(f"| {what} | {kind} | {figure[kind]} | |")
            continue
        met = {True: "yes", False: "**no**", None: ""}[figure.get("met")]
        value = f"{amount(figure['value'])} {figure['unit']}".strip()
        lines.append(f"| {what} | {value} | {figure.get('goal', '')} | {met} |")
    return lines


def number(value: float) -> str:
    """Return a whole number with separators."""
    return f"{value:,.0f}"


def ms(value: float) -> str:
    """Return milliseconds with as many digits as mean something."""
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def amount(value: float) -> str:
    """Return a figure with as many digits as mean something."""
    return f"{value:.2f}" if abs(value) < 100 and value != int(value) else f"{value:,.0f}"


def whole(data: Record) -> list[str]:
    """Return the report of a run: machine, tables, leads, footprint, figures."""
    merged = merge(data["records"])
    options = data["options"]
    clients, cases = options["clients"], options["cases"]
    lines = [
        f"### {data['date']}, Penstock {data['commit']}",
        "",
        *data["machine_lines"],
        "",
        f"Medians of {options['rounds']} interleaved rounds of {options['seconds']} s a point; "
        f"wrk on the same cores. {_loud(merged)} Echo stage: {data['echo']}. "
        f"Torch {_version(data, 'torch')}, XGBoost {_version(data, 'xgboost')}.",
        *lead_table(merged, cases, clients),
        *tables(merged, cases, clients),
        *footprint(merged),
    ]
    if data["figures"]:
        lines += ["", "#### Cases that only Penstock runs", *figures_table(data["figures"])]
    if data["missing"]:
        lines += ["", "Not installed here, so not measured: " + ", ".join(data["missing"]) + "."]
    return lines


def _loud(merged: dict[str, Record]) -> str:
    """Return a sentence on points that other programs disturbed, or nothing."""
    points = sum(len(r) for system in merged.values() for r in system["rounds"].values())
    loud = sum(system["loud"] for system in merged.values())
    if not loud:
        return ""
    return f"**Other programs took more than 0.15 cores in {loud} of {points} points.** "


def _version(data: Record, name: str) -> str:
    found = data["versions"].get("penstock", {})
    return str(found.get(name) or found.get(f"{name}-cpu") or "unknown")


def record_in(lines: Sequence[str], path: Path = HERE / "results.md") -> None:
    """Put a run's report into `results.md`, newest first, below its introduction."""
    mark = "<!-- runs: newest first -->"
    text = path.read_text()
    before, _, after = text.partition(mark)
    path.write_text(before + mark + "\n\n" + "\n".join(lines) + "\n" + after)


def date() -> str:
    """Return now as the report shows it (UTC)."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
