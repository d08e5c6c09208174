"""``python -m docs``: write every generated file anew."""

from __future__ import annotations

from docs.files import ROOT, files

for path, text in files().items():
    file = ROOT / path
    if not file.exists() or file.read_text("utf-8") != text:
        file.write_text(text, "utf-8")
        print(path)
