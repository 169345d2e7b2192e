"""Writes server/imaging/deidentify_table.py: which attribute gets which action (DICOM PS3.15, Table E.1-1).

    pip download --no-deps dicom-anonymizer==2.1.0 && python scripts/confidentiality_table.py dicom_anonymizer*.whl

The package (BSD-3-Clause) carries the basic profile's column of an edition as data. Only tags and actions are taken,
which are facts of the standard; the package itself is no dependency, for it does not know the options, loads whole
files, and lets pass what the table does not name.
"""

import ast
import sys
import textwrap
import zipfile
from pathlib import Path

EDITION = "2026c"
SOURCE = f"dicomanonymizer/dicom_anonymization_databases/dicomfields_{EDITION}.py"
TARGET = Path(__file__).parent.parent / "server/imaging/deidentify_table.py"
ACTIONS = {
    "D_TAGS": "D",
    "Z_TAGS": "Z",
    "X_TAGS": "X",
    "U_TAGS": "U",
    "Z_D_TAGS": "Z/D",
    "X_Z_TAGS": "X/Z",
    "X_D_TAGS": "X/D",
    "X_Z_D_TAGS": "X/Z/D",
    "X_Z_U_STAR_TAGS": "X/Z/U*",
}
HEAD = f'''"""DICOM PS3.15, Table E.1-1 ({EDITION}): the basic profile's action of each attribute. Made by a script: see
scripts/confidentiality_table.py. Curves (50xx) and overlays (60xx) are dealt with by their groups.
"""

EDITION = "{EDITION}"

_TAGS = {{
'''
TAIL = """}

BASIC: dict[int, str] = {int(tag, 16): action for action, tags in _TAGS.items() for tag in tags.split()}
"""


def read(wheel: str) -> dict[str, list[int]]:
    """The tags of each action."""
    tree = ast.parse(zipfile.ZipFile(wheel).read(SOURCE))
    found: dict[str, list[int]] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            action = ACTIONS.get(node.targets[0].id)
            if action:
                tags = ast.literal_eval(node.value)
                found[action] = sorted(group << 16 | number for group, number, *mask in tags if not mask)
    return found


def main() -> None:
    text = HEAD
    for action, tags in read(sys.argv[1]).items():
        text += f'    "{action}": """\n'
        text += textwrap.fill(
            " ".join(f"{tag:08X}" for tag in tags), 108, initial_indent=" " * 4, subsequent_indent=" " * 4
        )
        text += '""",\n'
    TARGET.write_text(text + TAIL)


if __name__ == "__main__":
    main()
