"""Make a spaCy pipeline that finds cities and sums of money, and save it as a folder.

The cities are those of Python's time zone database: more than 300 all over the world, each with
its zone. A trained `ner`, yours or spaCy's, is saved and deployed in the same way.
"""

from __future__ import annotations

import zoneinfo
from pathlib import Path
from typing import Any

import spacy
from spacy.lang.en.examples import sentences

REGIONS = ("Africa", "America", "Asia", "Australia", "Europe", "Pacific")


def cities() -> list[dict[str, str]]:
    """Return patterns for the cities, whose `id` is their time zone."""
    patterns = []
    for zone in sorted(zoneinfo.available_timezones()):
        region, _, rest = zone.partition("/")
        if region in REGIONS:
            name = rest.split("/")[-1].replace("_", " ")
            patterns.append({"label": "CITY", "pattern": name, "id": zone})
    return patterns


def sums() -> list[dict[str, Any]]:
    """Return patterns for sums of money: $1 billion, $ 500."""
    number = {"LIKE_NUM": True}
    return [
        {"label": "MONEY", "pattern": [{"IS_CURRENCY": True}, {**number, "OP": "+"}]},
    ]


def main(folder: Path) -> list[str]:
    """Write the pipeline into `folder`; return sentences to ask it about."""
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("entity_ruler").add_patterns([*cities(), *sums()])
    nlp.to_disk(folder)
    return [
        *sentences,
        "The office in Nairobi sent $ 500 to Helsinki. Sao Paulo was still asleep.",
    ]
