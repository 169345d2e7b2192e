"""What is looked for in a list of studies: words, a kind, those that can be shared. Conditions on a `study`."""

from __future__ import annotations

import re

from server.core.texts import translations
from server.imaging.to_fhir.overlay import NO_IMAGES
from server.records.fold import fold
from server.storage.where import TRUE, Where

from . import words

# As the pages show it: what the patient says instead of the images counts, and what the images say no more.
_KINDS = (
    "CASE WHEN study.corrected ->> 'modality' IS NULL THEN study.modalities ELSE"
    " ARRAY[study.corrected ->> 'modality'] || ARRAY(SELECT each FROM unnest(study.modalities) AS each"
    " WHERE each = ANY (:no_images::text[])) END"
)
# The folding of records/fold.py, for the few studies whose description was corrected.
_TITLE = (
    "CASE WHEN study.corrected ->> 'description' IS NULL THEN study.title_folded ELSE replace(replace(regexp_replace("
    "lower(normalize(translate(study.corrected ->> 'description', 'øØłŁđĐ', 'oOlLdD'), NFKD)),"
    " '[\u0300-\u036f]', '', 'g'),"
    " 'ß', 'ss'), 'æ', 'ae') END"
)
SHOWN_KINDS = Where(_KINDS, {"no_images": sorted(NO_IMAGES)})


def naming(text: str, language: str = "en") -> Where:
    """Studies with these words in their description, of the kind they name ("MRI", "x-ray"), or of this year."""
    wanted = fold(text)
    pattern = "%" + re.sub(r"([%_\\])", r"\\\1", wanted) + "%"
    gettext = translations(language).gettext
    kinds = ((code, {fold(name), fold(gettext(name)), code.casefold()}) for code, name in words.KINDS.items())
    codes = [code for code, names in kinds if wanted in names]
    year = wanted if re.fullmatch(r"(19|20)\d\d", wanted) else "-"
    return Where(
        f"({_TITLE} LIKE :wanted_pattern OR {_KINDS} && :wanted_codes::text[]"
        " OR left(study.shown_day, 4) = :wanted_year)",
        {
            "wanted_pattern": pattern,
            "wanted_codes": codes,
            "wanted_year": year,
            "no_images": sorted(NO_IMAGES),
        },
    )


def sharable(uids: list[str] | None) -> Where:
    """What a share gives: these of the studies that are the patient's, or all of them."""
    mine = Where("study.standing = 'mine'")
    return mine & Where("study.study_uid = ANY (:shared_uids)", {"shared_uids": uids}) if uids else mine


def of_kind(kind: str) -> Where:
    """Only this modality, where one is chosen, as the page shows it."""
    values = {"wanted_kind": kind, "no_images": sorted(NO_IMAGES)}
    return Where(f"{_KINDS} @> ARRAY[:wanted_kind::text]", values) if kind else TRUE
