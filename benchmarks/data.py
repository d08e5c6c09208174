"""Write the message file that everything is measured on."""

from __future__ import annotations

import csv
import random
from pathlib import Path

FOLDER = Path(__file__).parent / ".data"

HEADER = (
    "Message ID,Customer ID,Channel,Subject,Body,Send At,Locale,Segment,Score,Link,Status,Attempt"
)
COLUMNS = HEADER.split(",")

TEXT = (
    "your order is on its way we thought you would like this offer today only thank you for being "
    "with us since spring the new collection has arrived in store near"
)
WORDS = TEXT.split()


def message_file(rows: int) -> Path:
    """Return a file of 12 columns and about 280 bytes a row, made once and kept.

    One body in ten has line ends and quotes, one in 25 an emoji, four names in five are ASCII;
    a third of the scores and a quarter of the locales are null.
    """
    path = FOLDER / f"messages-{rows}.csv"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(map(_row, range(rows), [random.Random(7)] * rows))  # noqa: S311
        part.replace(path)
    return path


def _row(number: int, source: random.Random) -> list[str]:
    name = source.choice(["Ada", "Bo", "Cé", "Eve", "Finn"])
    body = f"Hi {name}, " + " ".join(source.choices(WORDS, k=22))
    if number % 10 == 3:  # noqa: PLR2004 (any one in ten)
        body += '\n\n"' + " ".join(source.choices(WORDS, k=4)) + '", they said'
    if number % 25 == 7:  # noqa: PLR2004 (any one in 25)
        body += " 🎈"
    day = f"2026-{1 + number % 9:02d}-{1 + number % 28:02d}"
    return [
        f"{source.getrandbits(128):032x}",
        f"c{number % 400_000:08d}",
        source.choice(["email", "sms", "push"]),
        " ".join(source.choices(WORDS, k=5)).capitalize(),
        body,
        f"{day}T{number % 24:02d}:{number % 60:02d}:00Z",
        source.choice(["de", "en", "fr", ""]),
        f"seg-{number % 37}",
        str(source.random())[:6] if number % 3 else "",
        f"https://example.com/u/{number}?c={number % 97}",
        "sent",
        str(number % 7),
    ]
