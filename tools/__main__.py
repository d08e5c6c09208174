"""``python -m tools FILE``: propose a change of the contract for a file of ``--check --shapes``.

The change is a unified diff on stdout; ``git apply`` takes it. Look at each line: a key that only
looks like another one is a guess.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tap_nudgescribe.outline import FORMAT
from tools.contract_change import diff


def main() -> int:
    """Print the change and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools", description=__doc__)
    parser.add_argument("shapes", type=Path, help="a file that --check --shapes has written")
    file = parser.parse_args().shapes
    try:
        document = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        print(f"{file} is not a file of shapes ({type(error).__name__})", file=sys.stderr)
        return 1
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        print(f"{file} is not a file of shapes: its format is not {FORMAT}", file=sys.stderr)
        return 1
    sys.stdout.write(diff(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
