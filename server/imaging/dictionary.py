"""What DICOM says of a tag: its value representation and its keyword.

DICOM PS3.6 (Data Dictionary), PS3.5 6.2 (Value Representation) and 7.8 (Private Data Elements).
"""

from __future__ import annotations

from functools import lru_cache

from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_VR, keyword_dict, private_dictionary_VR

# PS3.5 7.1.2: which have a length of 16 bits in an explicit VR, and which of 32 after two reserved bytes.
SHORT_VRS = frozenset({
    "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FL", "FD", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM",
    "UI", "UL", "US",
})  # fmt: skip
LONG_VRS = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"])
BINARY_VRS = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "UN"])
# What (0008,0005) Specific Character Set governs (PS3.5 6.1.2.2).
TEXT_VRS = frozenset(["LO", "LT", "PN", "SH", "ST", "UC", "UT"])
# One value whatever backslashes it has.
SINGLE_VRS = frozenset(["LT", "ST", "UT", "UR"])

_AMBIGUOUS = {"US or SS": "US", "OB or OW": "OW", "US or OW": "OW", "US or SS or OW": "US", "NONE": "UN"}


@lru_cache(maxsize=8192)
def vr_of(tag: int, creator: str = "") -> str:
    """The VR that the dictionary gives the tag; UN for what it does not know.

    US where pixels decide between US and SS (the caller, who sees Pixel Representation, corrects it).
    """
    if tag & 0xFFFF == 0:
        return "UL"
    if tag >> 16 & 1:
        return _private_vr(tag, creator)
    entry = DicomDictionary.get(tag)
    if entry is not None:
        return _AMBIGUOUS.get(entry[0], str(entry[0]))
    try:
        vr = str(dictionary_VR(tag))  # the repeating groups 50xx, 60xx
    except KeyError:
        return "UN"
    return _AMBIGUOUS.get(vr, vr)


def _private_vr(tag: int, creator: str) -> str:
    if 0x10 <= tag & 0xFFFF <= 0xFF:
        return "LO"
    if not creator:
        return "UN"
    try:
        vr = str(private_dictionary_VR(tag, creator))
    except KeyError:
        return "UN"
    return _AMBIGUOUS.get(vr, vr)


@lru_cache(maxsize=8192)
def is_signed_or_not(tag: int) -> bool:
    """Whether Pixel Representation decides between US and SS (PS3.5 A.1, note)."""
    entry = DicomDictionary.get(tag)
    return entry is not None and "SS" in entry[0] and "US" in entry[0]


def tag_of(name: str) -> int | None:
    """The tag of a keyword or of eight hex digits; None for a name that DICOM does not know."""
    tag = keyword_dict.get(name)
    if tag is not None:
        return int(tag)
    if len(name) == 8:
        try:
            return int(name, 16)
        except ValueError:
            return None
    return None


def keyword_of(tag: int) -> str:
    """The keyword of a tag, empty for a private or unknown one."""
    entry = DicomDictionary.get(tag)
    return str(entry[4]) if entry else ""
