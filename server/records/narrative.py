"""Narrative: the XHTML that FHIR lets a resource carry (R4, 2.4.0, txt-1 and txt-2).

Only formatting; nothing that runs, loads or frames. Checked on the way in, because portals show it.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from .fold import words

XHTML = "{http://www.w3.org/1999/xhtml}"
_TAGS = words(
    "a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5 h6 hr i img"
    " li ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var"
)
_ATTRIBUTES = words(
    "abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char charoff charset"
    " cite class colspan compact coords dir frame headers height href hreflang hspace id lang longdesc name nowrap"
    " rel rev rowspan rules scope shape span src start style summary tabindex title type valign value vspace"
    " width"
)
_LOADS = re.compile(r"url\((?!data:image/)|expression|@import", re.IGNORECASE)
_ADDRESSES = ("http:", "https:", "mailto:", "tel:", "#", "data:image/")


def problem_of(div: str) -> str | None:
    """What is wrong with the `div`, as a sentence; None when nothing is."""
    if "<!" in div.replace("<!--", "") or "<?" in div:
        return "The narrative may have no declarations or processing instructions."
    try:
        root = ElementTree.fromstring(div)  # noqa: S314 - declarations, and so entities, were refused above
    except ElementTree.ParseError:
        return "The narrative is not well-formed XHTML."
    if root.tag != f"{XHTML}div":
        return "The narrative must be one <div> in the XHTML namespace."
    for element in root.iter():
        if (problem := _element_problem(element)) is not None:
            return problem
    has_text = "".join(root.itertext()).strip()
    has_image = root.find(f".//{XHTML}img") is not None
    return None if has_text or has_image else "The narrative must not be empty."


def _element_problem(element: ElementTree.Element) -> str | None:
    if not isinstance(element.tag, str) or element.tag.removeprefix(XHTML) not in _TAGS:
        return "The narrative has an element that FHIR does not allow."
    for name, value in element.attrib.items():
        if name.startswith("{http://www.w3.org/XML/1998/namespace}"):
            continue
        if name not in _ATTRIBUTES:
            return "The narrative has an attribute that FHIR does not allow."
        if name in ("href", "src") and ":" in value and not value.strip().lower().startswith(_ADDRESSES):
            return "The narrative has a link of a kind that is not allowed."
        if name == "style" and _LOADS.search(value):
            return "The narrative has a style that loads something."
    return None
