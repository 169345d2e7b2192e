"""Services of one process: opened in order, closed in the opposite one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from server.audit.log import AuditLog
from server.core.settings import Settings
from server.storage.db import Database
from server.storage.key_store import key_store_of
from server.storage.keyring import KeyRing
from server.storage.objects import open_objects

from .gate import Gate
from .keys import SigningKeys
from .services import Services
from .sign_in import SignIn
from .tokens import Tokens


@asynccontextmanager
async def running_services(settings: Settings) -> AsyncIterator[Services]:
    """The parts below the surfaces; `settings.database_url` names a database that is migrated.

    Raises StorageUnavailable when the database does not answer, MasterKeyMissing without the key.
    """
    async with AsyncExitStack() as stack:
        db = Database(
            settings.database_url,
            max_size=settings.db_pool_size,
            statement_seconds=settings.statement_seconds,
        )
        await db.connect()
        stack.push_async_callback(db.disconnect)
        store = key_store_of(settings.keys_database_url)
        if store is not None:
            stack.callback(store.close)
        keyring = KeyRing.load(settings.key_file, create=False, store=store)
        objects = open_objects(settings)
        stack.push_async_callback(objects.close)
        audit = AuditLog(db, keyring)
        stack.push_async_callback(audit.close)
        keys = SigningKeys(db, keyring)
        tokens = Tokens(settings, keys)
        gate = Gate(db, settings, tokens, SignIn(db, settings), audit)
        yield Services(
            settings=settings,
            db=db,
            keyring=keyring,
            objects=objects,
            audit=audit,
            keys=keys,
            tokens=tokens,
            gate=gate,
        )
