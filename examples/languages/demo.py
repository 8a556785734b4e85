"""Deploy the language flow and ask it about sentences it has not seen."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import flow as languages
import train
from own_server import own_server

from penstock import deploy


def main() -> None:
    """Run the whole demonstration."""
    with own_server() as (url, folder):
        print("2. Training a small transformer on frequent words of five languages ...")
        made = train.main(folder / "model")
        texts, labels = made["texts"], made["labels"]

        print("3. Deploying its folder as a pipeline")
        endpoint = deploy(languages.flow(folder / "model"), "languages", example=texts[:1])

        print("4. Calling it with sentences")
        answers = endpoint.predict(texts)
        for answer in answers[:: len(answers) // 5]:
            print(f"   {answer['language']}, {answer['score']:.2f}: {answer['text'][:60]}")
        right = sum(a["language"] == label for a, label in zip(answers, labels, strict=True))
        print(f"   accuracy on {len(texts)} unseen sentences: {right / len(texts):.1%}")

        print("5. One sentence alone, with its time")
        answer = endpoint.call(texts[:1])
        print(f"   {answer.result} in {answer.run_time_ms:.1f} ms")
        print(f"   Dashboard: {url}/")


if __name__ == "__main__":
    main()
