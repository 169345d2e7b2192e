-- Doctors: the hat a doctor wears who holds a record too, and the page by which patients give a doctor access.

-- '' | patient: a doctor who looks at a record of their own does so as its patient, in this session.
ALTER TABLE session ADD COLUMN hat text NOT NULL DEFAULT '';

-- A doctor's own page. Its id stands in the address and on a printed card and is no secret: it opens nothing, and
-- whoever comes by it gives, and takes nothing. A new one takes the place of the old.
CREATE TABLE doctor_page (
    id              text PRIMARY KEY,
    practitioner_id text NOT NULL REFERENCES practitioner ON DELETE CASCADE,
    account_id      uuid NOT NULL REFERENCES account ON DELETE CASCADE,
    created_at      timestamptz NOT NULL,
    ended_at        timestamptz
);
CREATE UNIQUE INDEX doctor_page_living ON doctor_page (practitioner_id) WHERE ended_at IS NULL;

-- Which shares came by which page.
CREATE TABLE doctor_page_use (
    patient_id text NOT NULL REFERENCES patient ON DELETE CASCADE,
    share_id   text NOT NULL,
    page_id    text NOT NULL REFERENCES doctor_page ON DELETE CASCADE,
    used_at    timestamptz NOT NULL,
    PRIMARY KEY (patient_id, share_id, page_id)
);
CREATE INDEX doctor_page_use_of ON doctor_page_use (page_id, used_at DESC);

-- When the end of a guest link was written into its Consent and the log.
ALTER TABLE guest_link ADD COLUMN noted_at timestamptz;
