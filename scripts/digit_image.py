#!/usr/bin/env python3
"""Writes one handwritten digit that training did not see as a PNG. Usage: digit_image.py FILE [LABEL]"""

from __future__ import annotations

import sys
from pathlib import Path

from edgecnn.data import open_source


def main() -> None:
    path, label = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "7"
    digits = open_source("digits", split="test")
    index = digits.labels.tolist().index(digits.classes.index(label))
    digits.image(index).save(path)
    print(f"{path}: a handwritten {label}, {digits.key(index)}")


if __name__ == "__main__":
    main()
