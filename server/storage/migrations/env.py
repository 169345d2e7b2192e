"""Alembic's entry: one connection, one transaction, under a lock so that only one process migrates."""

from alembic import context
from sqlalchemy import create_engine, pool, text

LOCK = 7_411_203  # any number, ours

engine = create_engine(context.config.attributes["url"], poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, transactional_ddl=True)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        context.run_migrations()
    connection.commit()
engine.dispose()
