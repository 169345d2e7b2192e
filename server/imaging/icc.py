"""Colours as a profile says: what a picture carries so that each screen shows the same.

DICOM PS3.18, 8.3.5.1.5 (iccprofile); PS3.3, C.11.15 (ICC Profile). Pure.
"""

from __future__ import annotations

import io
from functools import lru_cache

from PIL import Image, ImageCms

NAMES = ("no", "yes", "srgb", "adobergb", "rommrgb", "displayp3")

# White point and primaries (x, y, Y) and gamma of those that no library names.
_D65, _D50 = (0.3127, 0.3290, 1.0), (0.3457, 0.3585, 1.0)
_MADE = {
    "rommrgb": (_D50, (0.7347, 0.2653, 1.0, 0.1596, 0.8404, 1.0, 0.0366, 0.0001, 1.0), 1.8),
    "displayp3": (_D65, (0.680, 0.320, 1.0, 0.265, 0.690, 1.0, 0.150, 0.060, 1.0), 2.2),
}


def profiled(image: Image.Image, wanted: str, held: bytes | None) -> tuple[Image.Image, bytes | None]:
    """The picture in the colours that are wanted, and the profile to put into the file.

    `held`: the profile of the object; without one its colours are taken for sRGB. A gray picture becomes RGB.
    """
    if wanted == "no":
        return image, None
    own = held if held and image.mode == "RGB" and _readable(held) else None
    image = image.convert("RGB")
    if wanted == "yes":
        return image, own or _profile("srgb")
    target = _profile(wanted)
    source = own or _profile("srgb")
    if source == target:
        return image, target
    try:
        turned = ImageCms.profileToProfile(
            image, io.BytesIO(source), io.BytesIO(target), ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB"
        )
    except ImageCms.PyCMSError:  # a profile that can be read and not used
        return image, target
    return turned or image, target


@lru_cache
def _profile(name: str) -> bytes:
    if name == "srgb":
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    from imagecodecs import cms_profile

    if name == "adobergb":
        return bytes(cms_profile("adobergb"))
    white, primaries, gamma = _MADE[name]
    return bytes(cms_profile("rgb", whitepoint=white, primaries=primaries, gamma=gamma))


def _readable(profile: bytes) -> bool:
    try:
        kind = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space
    except (OSError, ImageCms.PyCMSError):
        return False
    return bool(kind.strip() == "RGB")
