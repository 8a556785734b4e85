"""Train a named-entity recogniser with spaCy that finds cities and sums of money.

The cities are those of Python's time zone database: more than 300 all over the world. Sentences are
made of them and of names that are no cities, as with any text of which little is labelled. A third
of the cities, of the other names and some forms of sentences are held out: the recogniser never
sees them, and is judged by how it finds these.
"""

from __future__ import annotations

import random
import zoneinfo
from pathlib import Path
from typing import Any, NamedTuple

import spacy
from spacy.lang.en.examples import sentences as examples
from spacy.training import Example
from spacy.util import minibatch

SEED = 7
REGIONS = ("Africa", "America", "Asia", "Australia", "Europe", "Pacific")
TRAINED = 5000
ROUNDS = 3

#: Forms of sentences; {c} is a city, {m} a sum of money, {n} another name,
#: {o} how one may begin, {w} some things, {v} what was done.
FORMS = (
    "The office in {c} sent {m} to {c}.", "Our flight from {c} to {c} was late.",
    "{c} was still asleep when the train left.", "She moved to {c} for {m} a year.",
    "They paid {m} for a shop near the harbour of {c}.", "Prices in {c} rose to {m} last week.",
    "A startup from {c} raised {m}.", "I have never been to {c} or {c}.",
    "It rains in {c} more often than in {c}.", "The mayor of {c} asked for {m}.",
    "{n} wired {m} from {c} before noon.", "Is {c} larger than {c}?",
    "We met {n} in {c} and flew home.", "The bridge cost {m}, said the newspaper of {c}.",
    "Nobody at the bank had {m} in cash.", "The meeting starts at ten and ends at noon.",
    "Please send the report to {n} before Monday.", "{n} and {n} released new phones.",
    "Where were you when it began?", "When does the museum open on Sunday?",
    "{n} wrote to {n} last week.", "Who is the author of this book?", "{n} asked for {n}.",
    "Autonomous ships need insurance.", "In spring the river is high.",
    "Many people like coffee, some like tea.", "The Court of {n} decided on Friday.",
    "Which language do they speak there?", "{c} offered {m} to the winner.",
    "Half of the team works from {c}, the rest from {c} and {c}.", "{o} {n} bought a boat.",
    "{o} the weather in {c} was good.", "{o} {c} has two airports.", "{o} we asked {n} for {m}.",
    "{o} the price was {m}.", "Has {n} written to the bank in {c}?", "How did {n} pay {m}?",
    "{n} is the president of {n}.", "What do {n} and {n} sell?", "{o} nobody came.",
    "The people of {n} like {n}.", "{n}, who was born in {c}, works for {n}.", "{n} {v} us.",
    "{n} {v} and {v}.", "{n} {v} before the train arrived.", "{o} {n} {v}.", "{o} the boat {v}.",
    "How could {n} and {n} lose {m}?", "When did {n} and {n} sell it?", "Why was {n} {v}?",
    "{n} {v} from the garden and {v}.", "{o} the team plays in {c}.", "Did {n} ask {n}?",
    "{c} is a quiet place in winter.", "{c} has a new airport.", "{c} and {c} are twin towns.",
    "Flights to {c} cost {m}.", "He was born in {c} and died in {c}.", "{c} lies on a river.",
    "A boat sails between {c} and {c}.", "We drove through {c} at night.", "Rents in {c} doubled.",
    "The museum in {c} opens late.", "They came from {c} with {m}.", "My brother works in {c}.",
    "A room near {c} is {m}.", "Trains from {c} reach {c} by noon.", "All shops in {c} {v}.",
    "Where is {n}?", "Where do {w} grow?", "When did it rain?", "What is the price of {w}?",
    "Where was {n} born?", "{c} wants to forbid cars in the old town.", "{c} plans a new harbour.",
    "{w} cost {m}.", "{w} from {c} are cheap.", "{w} in {c} {v}.", "{w} {v}.", "All {w} {v}.",
    "{w} near {c} {v} last night.", "{n} {v} at the door.", "{n} and {n} {v}.", "{n} never {v}.",
    "Why did {n} leave?", "Why do {w} like {n}?", "{n} lost {m} and {v}.", "{n} said that {n} {v}.",
    "{o} the prices in {c} {v}.", "Who told {n} and {n}?", "A train to {c} {v} near {c}.",
)  # fmt: skip
HELD_OUT_FORMS = (
    "Hotels in {c} ask for {m} a night.", "The road between {c} and {c} is closed.",
    "My sister lives in {c} and earns {m}.", "{o} the band plays in {c}.",
    "{n} called from the station and waited.", "Why did {n} and {n} close?",
)  # fmt: skip

#: Names that are no cities, of people, firms and countries; how sentences begin; things; deeds.
NAMES = (
    "Anna", "Barack", "Maria Schmidt", "Peter Miller", "John", "Smith", "Sons", "Apple", "Google",
    "Olu Adeyemi", "Mei Lin", "Fatima", "Carlos Ortega", "Ingrid", "Yusuf Demir", "Aiko Tanaka",
    "Siemens", "Nestle", "Samsung", "Toyota", "Petrobras", "Maersk", "Tata", "Northern Rail",
    "France", "Japan", "Brazil", "Kenya", "India", "Canada", "Norway", "Chile", "Egypt", "Vietnam",
    "the United States", "the United Kingdom", "Parliament", "Doctor Weber", "Rosa", "Ahmed",
    "Baker", "Cooper", "Jones and Daughters", "Elena Popova", "Grace", "Novak", "Marks", "Spencer",
    "Henry", "Lucia Rossi", "Kofi Mensah", "Priya", "Nguyen", "Sofia Alvarez", "Tom", "Emily",
    "Bakker", "Okafor", "Ivanov", "Larsen", "Dubois", "Fischer", "Silva", "Hassan", "Kim Park",
    "Microsoft", "Volvo", "Airbus", "Sony", "Unilever", "Roche", "Lufthansa", "Iberia", "Equinor",
    "Blue Water Shipping", "Hill Brothers", "the Red Cross", "the Navy", "Professor Chen", "Judge",
    "Germany", "Spain", "Italy", "Poland", "Ghana", "Peru", "Nepal", "Oman", "Cuba", "Fiji",
    "Congress", "Christmas", "English", "Spanish", "Saturn", "Mars", "Walter", "Irene", "Oscar",
    "Wilson", "Taylor", "Carpenter", "Young", "Green", "Stone", "Bishop", "Mason", "Porter",
)  # fmt: skip
OPENINGS = (
    "Yesterday", "Tomorrow", "Meanwhile", "In June", "However,", "Perhaps", "This year", "Later",
    "Luckily", "On Tuesday", "At last", "Today", "Then", "Sometimes", "After lunch", "Officially",
    "Tonight", "Recently", "Soon", "Often", "Next week", "Last summer", "Every morning", "Besides,",
    "Nevertheless", "Finally", "Again", "Once", "Afterwards", "Usually", "Before dawn", "Maybe",
    "Sadly", "Rarely", "Somewhere", "Suddenly", "By noon", "Around midnight", "Now", "Instead",
    "Since May", "Until then", "Of course", "Ever since", "Overnight", "Lately", "Early on",
)  # fmt: skip
THINGS = (
    "Trains", "Cars", "Shops", "Schools", "Doctors", "Farmers", "Apples", "Boats", "Tickets",
    "Houses", "Flights", "Museums", "Workers", "Children", "Dogs", "Roads", "Books", "Letters",
    "Meals", "Rooms", "Bicycles", "Phones", "Taxes", "Offices", "Gardens", "Students", "Banks",
)  # fmt: skip
SOUNDS = (
    "ba", "bes", "cor", "da", "del", "fen", "ga", "gor", "hal", "ik", "jo", "ka", "ku", "lan", "li",
    "ma", "men", "na", "nor", "ol", "pa", "per", "ra", "ri", "sa", "sko", "ta", "tol", "ul", "var",
    "ver", "wen", "ya", "zi", "ton", "burg", "mar", "son", "lin", "dra", "qui", "xo", "mb", "st",
)  # fmt: skip
DONE = (
    "waited", "laughed", "stopped", "paid", "slept", "left", "called", "closed", "opened", "moved",
    "changed", "improved", "fell", "won", "lost", "vanished", "returned", "sang", "agreed",
)  # fmt: skip


def zones() -> dict[str, str]:
    """Return the time zone of each city, by its name."""
    found = {}
    for zone in sorted(zoneinfo.available_timezones()):
        region, _, rest = zone.partition("/")
        if region in REGIONS:
            found[rest.split("/")[-1].replace("_", " ")] = zone
    return found


def invented(chance: random.Random) -> str:
    """Return a name that does not exist: Tolvar, Besku Marin."""
    sounds = [chance.choice(SOUNDS) for _ in range(chance.randint(2, 3))]
    name = "".join(sounds).capitalize()
    return f"{name} {invented(chance)}" if chance.random() < 0.15 else name


def money(chance: random.Random) -> str:
    """Return a sum of money: $1 billion, $ 500, €3.5 million."""
    sign, gap = chance.choice("$€£"), chance.choice(["", " "])
    if chance.random() < 0.5:
        return f"{sign}{gap}{chance.randint(1, 9900):,}"
    return f"{sign}{gap}{chance.randint(1, 99) / 2:g} {chance.choice(['million', 'billion'])}"


class Words(NamedTuple):
    """What sentences are filled with."""

    cities: list[str]
    names: list[str]
    openings: list[str]
    things: list[str]
    done: list[str]


def halves(chance: random.Random) -> tuple[Words, Words]:
    """Return the words to train with, two thirds of each kind, and those that are held out."""
    kinds = [sorted(zones()), list(NAMES), list(OPENINGS), list(THINGS), list(DONE)]
    for kind in kinds:
        chance.shuffle(kind)
    return (
        Words(*(kind[len(kind) // 3 :] for kind in kinds)),
        Words(*(kind[: len(kind) // 3] for kind in kinds)),
    )


def labelled(
    forms: tuple[str, ...],
    words: Words,
    count: int,
    chance: random.Random,
    made_up: float = 0.0,
) -> list[tuple[str, list[tuple[int, int, str]]]]:
    """Return sentences, and of each where which kind of entity stands.

    `made_up` is the share of names, of cities and others, that do not exist: what they are can be
    told from the sentence only, and so it is the sentence that is learnt.
    """
    made = []
    for _ in range(count):
        text, found = "", []
        for piece in chance.choice(forms).replace("{", "|{").replace("}", "}|").split("|"):
            label = {"{c}": "CITY", "{m}": "MONEY"}.get(piece)
            put = _filled(piece, words, chance, made_up)
            if label is not None:
                found.append((len(text), len(text) + len(put), label))
            text += put
        made.append((text[0].upper() + text[1:], found))
    return made


def _filled(piece: str, words: Words, chance: random.Random, made_up: float) -> str:
    if piece == "{m}":
        return money(chance)
    if piece in {"{c}", "{n}"} and chance.random() < made_up:
        return invented(chance)
    kinds = {
        "{c}": words.cities,
        "{n}": words.names,
        "{o}": words.openings,
        "{w}": words.things,
        "{v}": words.done,
    }
    return chance.choice(kinds[piece]) if piece in kinds else piece


def as_examples(nlp: Any, made: list[Any]) -> list[Example]:
    """Return labelled sentences as spaCy trains and judges with them."""
    return [Example.from_dict(nlp.make_doc(t), {"entities": found}) for t, found in made]


def fit(nlp: Any, trained: list[Example]) -> None:
    """Train the recogniser."""
    chance = random.Random(SEED)
    optimizer = nlp.initialize(lambda: trained)
    for _ in range(ROUNDS):
        chance.shuffle(trained)
        for batch in minibatch(trained, 32):
            nlp.update(batch, sgd=optimizer, drop=0.2)


def main(folder: Path) -> dict[str, Any]:
    """Write the pipeline into `folder`.

    Returns:
        `texts`: sentences to ask it about; `precision` and `recall` on what was held out.
    """
    chance = random.Random(SEED)
    spacy.util.fix_random_seed(SEED)
    known, held_out = halves(chance)
    nlp = spacy.blank("en")
    nlp.add_pipe("ner", config={"model": {"tok2vec": _SMALL}})
    fit(nlp, as_examples(nlp, labelled(FORMS, known, TRAINED, chance, made_up=0.5)))
    judged = nlp.evaluate(as_examples(nlp, labelled(HELD_OUT_FORMS, held_out, 300, chance)))
    nlp.to_disk(folder)
    return {
        "texts": [
            *examples,
            "The office in Nairobi sent $ 500 to Helsinki. Sao Paulo was still asleep.",
        ],
        "precision": judged["ents_p"],
        "recall": judged["ents_r"],
    }


#: What turns words into numbers: smaller than spaCy's own, by the same parts.
_SMALL = {
    "@architectures": "spacy.HashEmbedCNN.v2",
    "pretrained_vectors": None,
    "width": 64,
    "depth": 3,
    "embed_size": 1000,
    "window_size": 1,
    "maxout_pieces": 3,
    "subword_features": True,
}
