"""What the numbers of a deploy may be.

Asked by `penstock.client.options` before anything is sent, and by `penstock.control` for whoever
sends it in another way.
"""

from __future__ import annotations

from penstock.core.errors import InvalidSetting

Range = tuple[float, float]

#: Smallest and largest value of each number of a version's settings.
OF_VERSIONS: dict[str, Range] = {
    "replicas": (1, 64),
    "memory_limit_bytes": (1 << 20, 1 << 50),
    "timeout_s": (0.1, 86400.0),
    "max_batch": (1, 65536),
    "threads": (1, 256),
    "max_queue": (1, 1_000_000),
    "concurrency": (1, 1024),
    "gpu": (1, 64),
}

#: The same of a deployment's scaling.
OF_SCALING: dict[str, Range] = {
    "min_replicas": (0, 64),
    "max_replicas": (1, 64),
    "cooldown_s": (0.05, 7 * 86400.0),
}


def check_within(name: str, value: float, limits: Range) -> None:
    """Raise `InvalidSetting` if a number is out of its range, both ends of which are allowed."""
    least, most = limits
    if not least <= value <= most:
        raise InvalidSetting(f"{name} is {value}; it must be from {least:.9g} to {most:.9g}.")


def check_fewest(low: int | None, high: int | None) -> None:
    """Raise `InvalidSetting` if there are to be more replicas at least than at most."""
    if low is not None and high is not None and low > high:
        raise InvalidSetting(
            f"min_replicas is {low} and max_replicas is {high}.",
            hint="Give both; the fewest may not be more than the most.",
        )
