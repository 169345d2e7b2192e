"""What the uploader's script says. `{n}` and other names in braces are filled in by the script."""

from server.core.texts import N_

WORDS = {
    "upload": N_("Upload {images} in {studies}"),
    "uploadUnsure": N_("Upload {images}"),
    "nothingToUpload": N_("Nothing to upload"),
    "mine": N_("mine"),
    "not-mine": N_("not mine"),
    "whose": N_("Whose is {what}?"),
    "noDescription": N_("Images"),
    "noDate": N_("Date unknown"),
    "noName": N_("no name"),
    "born": N_("born {date}"),
    "date": N_("Date"),
    "name": N_("Name on the images"),
    "imagesHead": N_("Images"),
    "heldTag": N_("in your record"),
    "differs-name": N_("Not the name in your profile."),
    "differs-birthDate": N_("Not the birth date in your profile."),
    "differs-both": N_("Neither the name nor the birth date of your profile."),
    "sentOf": N_("{sent} of {total}"),
    "perSecond": N_("{size}/s"),
    "soonKnown": N_("soon known"),
    "lessThanAMinute": N_("less than a minute"),
    "pause": N_("Pause"),
    "continue": N_("Go on"),
    "paused": N_("paused"),
    "offline": N_("waiting"),
    "signed-out": N_("waiting"),
    "ready": "",
    "done": N_("done"),
    "stopped": N_("The upload was stopped"),
    "ready-more": "",
    "done-more": "",
    "stopped-more": "",
    "paused-more": N_("Paused. Go on whenever you like."),
    "offline-more": N_("The connection is gone. We go on as soon as it is back."),
    "signed-out-more": N_("You were signed out. Sign in again in another tab, then press Go on."),
    "state-cataloguing": N_("being catalogued"),
    "state-available": N_("can be viewed now"),
    "doneWell": N_("Everything is in your record"),
    "doneWithGaps": N_("Done, but not everything could be stored"),
}

WORDS_BY_NUMBER = {
    "images": (N_("{n} image"), N_("{n} images")),
    "studies": (N_("{n} study"), N_("{n} studies")),
    "series": (N_("1 series"), N_("{n} series")),
    "stored": (
        N_("{n} image was stored and can be viewed now."),
        N_("{n} images were stored and can be viewed now."),
    ),
    "minutesLeft": (N_("about {n} minute"), N_("about {n} minutes")),
    "hoursLeft": (N_("about {n} hour"), N_("about {n} hours")),
    "openQuestions": (
        N_(
            "{n} study carries another name or birth date than your profile. Is it yours?"
            " It is not uploaded until you say so."
        ),
        N_(
            "{n} studies carry another name or birth date than your profile. Are they yours?"
            " They are not uploaded until you say so."
        ),
    ),
    "allHeld": (N_("{n}, already in your record"), N_("{n}, all already in your record")),
    "someHeld": (N_("{n} new, {held} already in your record"), N_("{n} new, {held} already in your record")),
    "unsure": (
        N_("{n} more file may be an image; it will be sent and looked at by the server."),
        N_("{n} more files may be images; they will be sent and looked at by the server."),
    ),
    "left-directory": (
        N_("{n} list of contents of the disc (DICOMDIR)"),
        N_("{n} lists of contents of the disc (DICOMDIR)"),
    ),
    "left-program": (
        N_("{n} program, such as the disc's viewer"),
        N_("{n} programs, such as the disc's viewer"),
    ),
    "left-picture": (
        N_("{n} picture (JPEG, TIFF …): not medical imaging; add it as a record instead"),
        N_("{n} pictures (JPEG, TIFF …): not medical imaging; add them as records instead"),
    ),
    "left-document": (
        N_("{n} document (PDF …): not medical imaging; add it as a report instead"),
        N_("{n} documents (PDF …): not medical imaging; add them as reports instead"),
    ),
    "left-unknown": (N_("{n} other file of the disc"), N_("{n} other files of the disc")),
    "left-empty": (N_("{n} empty file"), N_("{n} empty files")),
    "left-twice": (N_("{n} image that is on the disc twice"), N_("{n} images that are on the disc twice")),
    "left-zip": (N_("{n} archive inside an archive"), N_("{n} archives inside archives")),
    "left-broken-zip": (
        N_("{n} .zip that could not be opened"),
        N_("{n} .zip files that could not be opened"),
    ),
    "left-broken-iso": (
        N_("{n} disc image (.iso) that could not be opened"),
        N_("{n} disc images (.iso) that could not be opened"),
    ),
    "listedAll": (
        N_("The disc's own list names {n} image, and it was found."),
        N_("The disc's own list names {n} images, and all were found."),
    ),
    "listedMissing": (
        N_("The disc's own list names {n} image; {found} were found. Choose the whole disc, or clean it."),
        N_("The disc's own list names {n} images; {found} were found. Choose the whole disc, or clean it."),
    ),
    "left-unreadable": (
        N_("{n} file that could not be read: try again, or clean the disc"),
        N_("{n} files that could not be read: try again, or clean the disc"),
    ),
    # by FailureReason (0008,1197) in decimal, or by HTTP status
    "failed-272": (N_("{n} image could not be processed"), N_("{n} images could not be processed")),
    "failed-273": (
        N_("{n} image is in your record already with other content; the first one was kept"),
        N_("{n} images are in your record already with other content; the first ones were kept"),
    ),
    "failed-290": (
        N_("{n} image of a kind that is not supported"),
        N_("{n} images of a kind that is not supported"),
    ),
    "failed-292": (N_("{n} image that you may not store"), N_("{n} images that you may not store")),
    "failed-42752": (N_("{n} image: there was no room left"), N_("{n} images: there was no room left")),
    "failed-43009": (N_("{n} image that contradicts itself"), N_("{n} images that contradict themselves")),
    "failed-43264": (N_("{n} image that contradicts itself"), N_("{n} images that contradict themselves")),
    "failed-49152": (N_("{n} file that is no readable DICOM"), N_("{n} files that are no readable DICOM")),
    "failed-49442": (N_("{n} image in an unknown encoding"), N_("{n} images in an unknown encoding")),
    "failed-0": (
        N_("{n} file was not sent: the connection broke"),
        N_("{n} files were not sent: the connection broke"),
    ),
    "failed-503": (
        N_("{n} file was not sent: the server was busy"),
        N_("{n} files were not sent: the server was busy"),
    ),
    "failed-507": (N_("{n} file: there was no room left"), N_("{n} files: there was no room left")),
    "failed-413": (N_("{n} file is too large"), N_("{n} files are too large")),
    "failed-unknown": (N_("{n} file was refused"), N_("{n} files were refused")),
}
