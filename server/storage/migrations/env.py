"""Alembic's entry: one connection, one transaction, under a lock so that only one process migrates."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import asyncpg
from alembic import context
from sqlalchemy import Connection, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

LOCK = 7_411_203  # any number, ours


def migrate(connection: Connection) -> None:
    context.configure(connection=connection, transactional_ddl=True)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        context.run_migrations()


async def run() -> None:
    url = context.config.attributes["url"]  # read by the driver itself, which knows all of its parameters
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(url), poolclass=pool.NullPool
    )
    async with engine.begin() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()


with ThreadPoolExecutor(1) as aside:  # where no event loop runs yet, whoever asks
    aside.submit(asyncio.run, run()).result()
