"""The history of the records database, as alembic steps; run by `stores.migrate`."""
