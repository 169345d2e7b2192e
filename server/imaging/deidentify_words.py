"""Free text made safe: of a description only words stay that say what was imaged and how, from a list of our own.

DICOM PS3.15, E.3.5 (Clean Descriptors Option). A list of what may stay, not of what must go: names, numbers of cases
and places cannot be told apart from other words by a machine, so whatever is not listed goes. A listed word goes too
where it is part of what identifies somebody in this object (a patient called Young, a hospital called Hand).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

_WORDS = """
    10mm 1d 1mm 1st 2d 2mm 2nd 3d 3mm 3rd 4d 5mm abd abdomen abdominal acetabulum adrenal agfa aif
    airway angio angiogram angiography ankle antecubital anterior aorta aortic ap apex apical arch arm
    arterial arteries artery articular ascending atrium axial axilla b0 b1000 b50 basal base bh biceps
    bilateral bladder blood body bolus bone bones bony both bowel brachial brain breast breath bronchial
    bronchus calcaneus calcium calf canon cardiac carestream caroid carotid cc cervical chest cholangio
    cine circle clavicle coccyx coil colon colonography colour column contrast cor coronal coronary
    cortical cranial craniocaudal cranium ct cta ctac cuff cxr decubitus deep delay delayed descending
    detail diaphragm diastole diffusion digit distal dorsal dorsi dose dual duodenum dwi dynamic early
    echo eizo elbow electric elscint enhanced epi esaote esophagus exam expiration extension extremity
    face facial fast fat fatsat fdg femoral femur fibula field fiesta finger fingers flair flash flexion
    flow fluid foot forearm fov frame fs fse fuji fujifilm full functional fusion gallbladder gastric
    gated ge gems general gradient gre guided hand hard head healthineers heart helical hepatic high hip
    hips hitachi hologic hr hrct humerus iac ileum iliac ilium images imaging in inferior inspiration
    internal intestine ir iv jaw joint kidney kidneys knee kodak konica kub larynx lat late lateral left
    leg legs limb liver loc localiser localizer long low lower lumbar lumbosacral lung lungs lymph mag
    magnitude mammo mammography mandible mandibular map mastoid maxilla maxillofacial mediastinum
    medical mediolateral mediso medium mid middle minolta mip mixed mlo motion mpr mprage mr mra mrcp
    mri mrv multi muscle myelogram myocardial myocardium nasal native neck neonatal nm noise non nose
    obl oblique of opposed orbit orbits os osseous ovary pa palate pancreas parallel paranasal parotid
    patella pd pdfs pe pediatric pelvic pelvis perfusion pet phantom pharynx phase philips picker
    pituitary plain plane plus popliteal portable portal post posterior pre prone prostate proton
    proximal pulmonary qc radius recon rectum ref reformat renal rest rib ribs right rotation runoff
    sacral sacroiliac sacrum sag sagittal scan scaphoid scapula scout screening se sequence series
    shimadzu shin short shoulder siemens sinus sinuses skull slice slices small smooth soft space spgr
    spin spine spiral spleen standard standing static stealth sternum stir stomach stress study
    subtraction superior supine survey swallow swi systems systole t1 t1w t2 t2w talus te temporal test
    thick thigh thin thoracic thorax three thumb thyroid tibia tibial time tirm tissue to toe toes tof
    tomo tomography tongue topogram toshiba tr tra trachea trans transverse trauma tse tumor tumour
    turbo two ultrasound unenhanced united upper upright ureter urethra urinary urogram uterus valve
    vascular vein venogram venous ventral ventricle vertebra vessel vessels vibe view views volume
    weight weighted wh whole window with without wo wrist xr xray
"""
WORDS = frozenset(_WORDS.split())
_SPLIT = re.compile(r"[A-Za-z0-9]+")
_MOST = 64  # PS3.5 6.2, LO

# Schemes whose code values stand in the dictionary of pydicom (PS3.16, PS3.6): their meaning is taken from there.
_SCHEMES = {"SRT": "SRT", "SNM3": "SRT", "99SDM": "SRT"}


def clean_text(value: str, known: Collection[str]) -> str:
    """What may stay of a free text; `known` are words, folded, that identify somebody."""
    found = (word for word in _SPLIT.findall(value) if word.lower() in WORDS and word.lower() not in known)
    return " ".join(found)[:_MOST].strip()


@lru_cache(maxsize=1)
def _codes() -> dict[tuple[str, str], str]:
    """(scheme, value) -> meaning, of every code that the standard lists."""
    from pydicom.sr._concepts_dict import concepts  # 15 MB that only a delivery to research needs

    return {
        (scheme, value): meaning
        for scheme, keywords in concepts.items()
        for codes in keywords.values()
        for value, (meaning, _) in codes.items()
    }


def meaning_of(scheme: str, value: str) -> str | None:
    """What the standard says that a code means; None for a code that it does not list."""
    return _codes().get((scheme, value)) or _srt_codes().get((_SCHEMES.get(scheme, ""), value))


@lru_cache(maxsize=1)
def _srt_codes() -> dict[tuple[str, str], str]:
    """The older codes of SNOMED that the standard maps to the newer."""
    from pydicom.sr._snomed_dict import mapping

    newer = _codes()
    pairs = ((old, new) for old, new in mapping["SRT"].items())
    return {("SRT", old): newer[("SCT", new)] for old, new in pairs if ("SCT", new) in newer}
