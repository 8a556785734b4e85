"""The places flow: a spaCy pipeline, then plain Python that tells the time at each city found."""

from __future__ import annotations

import datetime
import zoneinfo
from pathlib import Path
from typing import Any

from penstock import model_type

#: Time zones by their city; the dict travels with the function that reads it.
ZONES = {
    zone.rpartition("/")[2].replace("_", " "): zone
    for zone in sorted(zoneinfo.available_timezones())
}


def entities(docs: list, input_data: list[str]) -> list[list[dict[str, Any]]]:  # type: ignore[type-arg]
    """What was found in each text: its words, its kind, where it stands, and a city's zone."""
    return [
        [
            {
                "text": found.text,
                "label": found.label_,
                "start": found.start_char,
                "end": found.end_char,
                "zone": ZONES.get(found.text) if found.label_ == "CITY" else None,
            }
            for found in doc.ents
        ]
        for doc in docs
    ]


def with_times(texts: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """Add to every city how far its clock is from UTC, in hours."""
    now = datetime.datetime.now(datetime.timezone.utc)
    for found in (entity for text in texts for entity in text if entity["zone"]):
        offset = now.astimezone(zoneinfo.ZoneInfo(found["zone"])).utcoffset()
        found["utc_offset_h"] = offset.total_seconds() / 3600 if offset is not None else None
    return texts


def flow(folder: Path) -> list[tuple[Any, ...]]:
    """The stages, with the pipeline in `folder`."""
    return [(model_type.SPACY, folder, {"post": entities}), (model_type.PYTHON, with_times)]
