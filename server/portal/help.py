"""Help from every page: a message that is stored sealed, and mailed to the people who run the service.

Requests about rights get the answer clock of GDPR 12(3).
"""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import orjson
from starlette.responses import Response

from server.access.sign_in import address_of
from server.accounts import attempts, people
from server.core import clock
from server.core.errors import TooManyRequests
from server.core.texts import N_
from server.jobs import mailer
from server.jobs.letter import templates, write
from server.storage.sql import load

from .forms import Form, filled, local_path
from .pages import render
from .visit import Visit

QUERIES = load(__package__)
LETTERS = templates("server.portal")
SUBJECTS = {
    "question": N_("A question"),
    "upload": N_("Adding imaging"),
    "sharing": N_("Sharing"),
    "problem": N_("Something does not work"),
    "rights": N_("My rights, or the data protection officer"),
}
ANSWER_WITHIN = {"rights": timedelta(days=30)}
OTHERS_WITHIN = timedelta(days=3)
LIMIT = attempts.Limit("help", free=10, longest=15 * 60)


async def show(visit: Visit) -> Response:
    """The contact form; `about` chooses the subject."""
    about = visit.query("about")
    referring = local_path(visit.query("from"), otherwise="")
    return _page(visit, filled({"subject": about if about in SUBJECTS else "question", "page": referring}))


async def submit(visit: Visit) -> Response:
    """Keep the message and mail it on."""
    form, me = visit.form, visit.me
    subject, message = form.one_of("subject", list(SUBJECTS)), form.lines("message")
    name = me.name if me else form.text("name")
    email = me.email if me else form.checked("email", people.normal_email)
    if not form:
        return _page(visit, form)
    try:
        network = attempts.network_of(address_of(visit.request))
        await attempts.begin(visit.services.db, attempts.subject(LIMIT, network))
    except TooManyRequests as exc:
        form.refuse(exc)
        return _page(visit, form)
    await _keep(visit, subject, {"name": name, "email": email, "message": message})
    return render(visit.request, "asked.html")


async def _keep(visit: Visit, subject: str, content: dict[str, str]) -> None:
    services, now, message_id = visit.services, clock.now(), uuid4()
    answer_by = now + ANSWER_WITHIN.get(subject, OTHERS_WITHIN)
    values = {
        "id": message_id,
        "account": visit.me.account_id if visit.me else None,
        "subject": subject,
        "sealed": services.keyring.seal(None, orjson.dumps(content), message_id.bytes),
        "now": now,
        "answer_by": answer_by,
    }
    letter = {
        **content,
        "subject": SUBJECTS[subject],
        "number": str(message_id),
        "answer_by": f"{answer_by:%Y-%m-%d}",
    }
    async with services.db.transaction():
        await services.db.execute(QUERIES["add_help"], values)
        mail = write(LETTERS, "help", services.settings.mail_from, letter)
        await mailer.post(services.db, mail, keyring=services.keyring)


def _page(visit: Visit, form: Form) -> Response:
    subjects = list(SUBJECTS.items())
    return render(visit.request, "help.html", 200 if form else 422, form=form, subjects=subjects)
