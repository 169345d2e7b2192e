"""Identifiers and secrets."""

import hashlib
import secrets
import uuid


def new_id() -> str:
    """A new random id that FHIR accepts (R4 `id`: 1 to 64 of [A-Za-z0-9-.])."""
    return str(uuid.uuid4())


def new_secret() -> str:
    """256 random bits, URL-safe: session ids, one-time links, client secrets."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    """What is stored of a random secret: a copy of the table must not be enough to use it.

    SHA-256 suffices because the secret has 256 random bits; passwords go through argon2 instead.
    """
    return hashlib.sha256(secret.encode()).digest()
