"""Makes a database with the tables, the manager and the hashes of FastAPI Users.

usage: fastapi_users_database.py FILE
"""

import asyncio
import sys
import uuid

from fastapi_users import BaseUserManager, UUIDIDMixin, schemas
from fastapi_users.db import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from fastapi_users.password import PasswordHelper
from pwdlib import PasswordHash
from pwdlib.hashers.bcrypt import BcryptHasher
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    pass


class User(SQLAlchemyBaseUserTableUUID, Base):
    pass


class Manager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    pass


async def main(file):
    engine = create_async_engine(f"sqlite+aiosqlite:///{file}")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with async_sessionmaker(engine, expire_on_commit=False)() as session:
        users = SQLAlchemyUserDatabase(session, User)
        bcrypt = PasswordHelper(PasswordHash((BcryptHasher(rounds=4),)))
        for email, helper, flags in [
            ("Argon.User@user.com", None, {}),
            ("bcrypt@user.com", bcrypt, {"is_verified": True}),
            ("root@user.com", None, {"is_superuser": True}),
            ("inactive@user.com", None, {"is_active": False}),
        ]:
            create = schemas.BaseUserCreate(email=email, password=f"password of {email}", **flags)
            user = await Manager(users, helper).create(create)
            print(user.id, user.email)
    await engine.dispose()


asyncio.run(main(sys.argv[1]))
