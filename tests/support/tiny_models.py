"""Small models of transformers and spaCy, trained in seconds on what the tests show them.

Each function writes a folder as users do (`save_pretrained`, `nlp.to_disk`) and returns it.
"""

from __future__ import annotations

import io
import json
import random
import wave
from pathlib import Path
from typing import Any

import numpy as np

SENTENCES = [
    "the penstock carries water to the turbine",
    "a model answers when it is called",
    "good morning says the keeper of the dam",
]

#: Texts and whether they praise, for classifiers.
REVIEWS = [
    ("a good and quiet machine", "POSITIVE"), ("very good, it works", "POSITIVE"),
    ("I like the quiet turbine", "POSITIVE"), ("great and fast", "POSITIVE"),
    ("a bad and loud machine", "NEGATIVE"), ("very bad, it leaks", "NEGATIVE"),
    ("I hate the loud turbine", "NEGATIVE"), ("broken and slow", "NEGATIVE"),
]  # fmt: skip

RATE = 16_000
NAMES = ["north", "south", "east", "west", "up", "down", "left", "right", "in", "out", "red",
         "green", "blue", "gold", "near", "far"]  # fmt: skip


def byte_tokenizer(texts: list[str], specials: list[str], **options: Any) -> Any:
    """Return a fast byte-level BPE tokenizer trained on `texts`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=400, special_tokens=specials, initial_alphabet=alphabet),
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, **options)


def text_generator(folder: Path) -> Path:
    """A GPT-2 that continues `SENTENCES` by heart."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    end = "<|endoftext|>"
    tokenizer = byte_tokenizer(SENTENCES, [end], eos_token=end, bos_token=end, pad_token=end)
    torch.manual_seed(3)
    model = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer), n_positions=64, n_embd=48, n_layer=1, n_head=2,
            bos_token_id=0, eos_token_id=0, pad_token_id=0,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        )
    )  # fmt: skip
    batch = tokenizer([text + end for text in SENTENCES], return_tensors="pt", padding=True)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    _train(model, lambda: model(**batch, labels=labels).loss, steps=120, rate=5e-3)
    return _save(folder, model, tokenizer)


def text_classifier(folder: Path) -> Path:
    """A BERT that tells praise from blame, as `REVIEWS` do."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    tokenizer = byte_tokenizer([text for text, _ in REVIEWS], ["[PAD]"], pad_token="[PAD]")
    torch.manual_seed(3)
    labels = ["NEGATIVE", "POSITIVE"]
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=64, max_position_embeddings=64, pad_token_id=0,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            id2label=dict(enumerate(labels)), label2id={k: n for n, k in enumerate(labels)},
        )
    )  # fmt: skip
    batch = tokenizer([text for text, _ in REVIEWS], return_tensors="pt", padding=True)
    known = torch.tensor([labels.index(label) for _, label in REVIEWS])
    _train(model, lambda: model(**batch, labels=known).loss, steps=60, rate=5e-3)
    return _save(folder, model, tokenizer)


def speech_recogniser(folder: Path) -> Path:
    """A Whisper that says `NAMES[n]` when it hears `tone(n)`."""
    import torch
    from transformers import (
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizer,
    )

    end = "<|endoftext|>"
    trained = json.loads(byte_tokenizer(NAMES, [end]).backend_tokenizer.to_str())["model"]
    tokenizer = WhisperTokenizer(trained["vocab"], [tuple(pair) for pair in trained["merges"]])
    # Whatever comes after this token is a time stamp.
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|notimestamps|>"]})
    tokenizer.pad_token = end
    extractor = WhisperFeatureExtractor(feature_size=40, chunk_length=1)
    torch.manual_seed(3)
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=len(tokenizer), num_mel_bins=40, max_source_positions=50,
            max_target_positions=16, d_model=32, encoder_layers=1, decoder_layers=1,
            encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=64,
            decoder_ffn_dim=64, dropout=0.0, bos_token_id=0, eos_token_id=0, pad_token_id=0,
            decoder_start_token_id=0, suppress_tokens=None, begin_suppress_tokens=None,
        )
    )  # fmt: skip
    sounds = [tone(n) for n in range(len(NAMES))]
    heard = extractor(sounds, sampling_rate=RATE, return_tensors="pt").input_features
    said = tokenizer(
        [name + end for name in NAMES],
        return_tensors="pt",
        padding=True,
        add_special_tokens=False,
    )
    labels = said["input_ids"].masked_fill(said["attention_mask"] == 0, -100)
    _train(model, lambda: model(input_features=heard, labels=labels).loss, steps=200, rate=6e-3)
    model.generation_config.max_new_tokens = 8
    extractor.save_pretrained(folder)
    return _save(folder, model, tokenizer)


def tone(number: int, rate: int = RATE) -> np.ndarray:
    """Return one second of the sound that means `NAMES[number]`, float32."""
    at = np.arange(rate) / rate
    low, high = 250 * 1.2 ** (number // 4), 1500 * 1.25 ** (number % 4)
    sound = 0.4 * np.sin(2 * np.pi * low * at) + 0.4 * np.sin(2 * np.pi * high * at)
    return sound.astype(np.float32)


def wav(number: int, rate: int = RATE) -> bytes:
    """Return `tone(number)` as a WAV file of 16-bit samples."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((tone(number, rate) * 32767).astype("<i2").tobytes())
    return content.getvalue()


def image_classifier(folder: Path) -> Path:
    """A ViT that tells scikit-learn's two photos apart, by pieces of them."""
    import torch
    from PIL import Image
    from sklearn.datasets import load_sample_images
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    photos = [Image.fromarray(array) for array in load_sample_images().images]
    names = ["temple", "flower"]
    processor = ViTImageProcessor(size={"height": 32, "width": 32})
    torch.manual_seed(3)
    model = ViTForImageClassification(
        ViTConfig(
            hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
            image_size=32, patch_size=8, hidden_dropout_prob=0.0,
            id2label=dict(enumerate(names)), label2id={k: n for n, k in enumerate(names)},
        )
    )  # fmt: skip
    turns = random.Random(3)
    pieces, known = [], []
    for number, photo in enumerate(photos):
        for _ in range(8):
            left, top = turns.randrange(240), turns.randrange(140)
            pieces.append(photo.crop((left, top, left + 400, top + 280)))
            known.append(number)
    pixels = processor(pieces, return_tensors="pt")["pixel_values"]
    labels = torch.tensor(known)
    _train(model, lambda: model(pixel_values=pixels, labels=labels).loss, steps=30, rate=3e-3)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def spacy_pipeline(folder: Path) -> Path:
    """A pipeline that finds names by rule and by training, and classifies texts as `REVIEWS`."""
    import spacy
    from spacy.training import Example
    from spacy.util import fix_random_seed

    fix_random_seed(3)
    nlp = spacy.blank("en")
    nlp.add_pipe("ner").add_label("PERSON")
    praise = nlp.add_pipe("textcat")
    for label in ("POSITIVE", "NEGATIVE"):
        praise.add_label(label)
    examples = [
        Example.from_dict(
            nlp.make_doc(text),
            {"entities": [], "cats": {name: float(name == label) for name in praise.labels}},
        )
        for text, label in REVIEWS
    ]
    for text in ("Ada opened the gate.", "the gate was shut by Grace.", "Ada saw gate 7 of it."):
        name = "Ada" if "Ada" in text else "Grace"
        start = text.index(name)
        entities = {"entities": [(start, start + len(name), "PERSON")]}
        examples.append(Example.from_dict(nlp.make_doc(text), entities))
    nlp.initialize(lambda: examples)
    optimizer = nlp.resume_training()
    for _ in range(40):
        nlp.update(examples, sgd=optimizer)
    rules = nlp.add_pipe("entity_ruler", before="ner")
    rules.add_patterns([{"label": "PLACE", "pattern": "Hoover Dam"}])
    nlp.add_pipe("sentencizer")
    nlp.to_disk(folder)
    return folder


def _train(model: Any, loss: Any, steps: int, rate: float) -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)  # these models are too small to share out
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    model.eval()
    torch.set_num_threads(before)


def _save(folder: Path, model: Any, tokenizer: Any) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
