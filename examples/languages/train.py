"""Make a small transformer that names the language of a text, and save it as a pipeline's folder.

It learns from the lists of frequent words that spaCy brings for each language, and is asked about
sentences that spaCy's authors wrote as examples, which it never sees before. A model from the Hub
is used in the same way: `save_pretrained`, or its name in place of a folder.
"""

from __future__ import annotations

import importlib
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

SEED = 7
LANGUAGES = {"en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian"}
LONGEST = 128
STEPS = 120


def words(code: str) -> list[str]:
    """Return the frequent words of a language."""
    return sorted(importlib.import_module(f"spacy.lang.{code}.stop_words").STOP_WORDS)


def sentences(code: str) -> list[str]:
    """Return the example sentences of a language."""
    return list(importlib.import_module(f"spacy.lang.{code}.examples").sentences)


def trained_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are frequent words and the pieces they are made of."""
    inner = Tokenizer(models.BPE())
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    inner.train_from_iterator(
        [f" {word}" for code in LANGUAGES for word in words(code)],
        trainers.BpeTrainer(
            vocab_size=2000,
            special_tokens=["[PAD]"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", model_max_length=LONGEST
    )


def small_bert(tokens: int) -> BertForSequenceClassification:
    """A BERT of one layer, untrained."""
    names = list(LANGUAGES.values())
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=tokens,
            hidden_size=48,
            num_hidden_layers=1,
            num_attention_heads=4,
            intermediate_size=96,
            max_position_embeddings=LONGEST,
            pad_token_id=0,
            hidden_dropout_prob=0.0,
            id2label=dict(enumerate(names)),
            label2id={name: at for at, name in enumerate(names)},
        )
    )


def fit(model: BertForSequenceClassification, tokenizer: Any) -> None:
    """Train the model on chance sequences of frequent words."""
    chance = random.Random(SEED)
    known = [words(code) for code in LANGUAGES]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(STEPS):
        labels = [chance.randrange(len(known)) for _ in range(32)]
        texts = [" ".join(chance.choices(known[k], k=chance.randint(3, 8))) for k in labels]
        batch = tokenizer(texts, return_tensors="pt", padding=True, truncation=True)
        optimizer.zero_grad()
        model(**batch, labels=torch.tensor(labels)).loss.backward()
        optimizer.step()
    model.eval()


def main(folder: Path) -> dict[str, Any]:
    """Write the model and its tokenizer into `folder`.

    Returns:
        `texts`: sentences it has not seen; `labels`: their languages.
    """
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # the model is too small to share out
    tokenizer = trained_tokenizer()
    model = small_bert(len(tokenizer))
    fit(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    found = [(text, name) for code, name in LANGUAGES.items() for text in sentences(code)]
    return {"texts": [text for text, _ in found], "labels": [name for _, name in found]}
