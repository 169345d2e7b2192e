"""How a document refers to an object: as an image, as a waveform, or as a composite object that is neither.

DICOM PS3.3, C.17.3.2.1 (value types) and F.3.2.2 (what a directory calls an image); PS3.4, B.5 (the classes).
"""

from __future__ import annotations

_STORAGE = "1.2.840.10008.5.1.4.1.1."
# Families of which nothing is an image: presentation states, measurements, reports and documents, protocols, ...
_COMPOSITE_FAMILIES = ("9.100.", "11.", "66.", "68.", "78.", "79.", "80.", "88.", "90.", "91.", "104.", "200.",
                       "201.", "481.")  # fmt: skip
# Spectroscopy; overlays, curves and tables of their own (retired); raw data; value maps; which images are a pair;
# layouts of a screen; DICOS' reports.
_COMPOSITES = frozenset(("4.2", "8", "9", "10", "11", "66", "67", "77.1.5.3", "129", "131", "501.3"))
# Segmentations of pixels (not of surfaces), and the images of radiotherapy.
_IMAGES = frozenset(("66.4", "66.7", "66.8", "481.1", "481.23", "481.24"))


def value_type(sop_class: str) -> str:
    """IMAGE, WAVEFORM or COMPOSITE; of a private class nobody can say that it is an image."""
    kind = sop_class.removeprefix(_STORAGE)
    if kind in _IMAGES:
        return "IMAGE"
    if kind == sop_class or kind in _COMPOSITES or kind.startswith(_COMPOSITE_FAMILIES):
        return "COMPOSITE"
    return "WAVEFORM" if kind.startswith("9.") else "IMAGE"
