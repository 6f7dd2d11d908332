"""FastAPI Users as its documentation sets it up: JWT strategy, SQLAlchemy. The hash is bcrypt, as in the other peers."""

import os
import uuid
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, JWTStrategy
from fastapi_users.db import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from fastapi_users.password import PasswordHelper
from pwdlib import PasswordHash
from pwdlib.hashers.bcrypt import BcryptHasher
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

SECRET = os.environ["SECRET"]
engine = create_async_engine(os.environ["DATABASE"])
new_session = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class User(SQLAlchemyBaseUserTableUUID, Base):
    pass


class Manager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    reset_password_token_secret = verification_token_secret = SECRET


async def database():
    async with new_session() as session:
        yield SQLAlchemyUserDatabase(session, User)


async def manager(users=Depends(database)):
    hasher = BcryptHasher(rounds=int(os.environ["BCRYPT_COST"]))
    yield Manager(users, PasswordHelper(PasswordHash((hasher,))))


def strategy():
    return JWTStrategy(secret=SECRET, lifetime_seconds=86400)


@asynccontextmanager
async def lifespan(_):
    # `benches/compare` starts one worker first, so that two do not create the tables at the same time.
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield


backend = AuthenticationBackend("jwt", BearerTransport("auth/jwt/login"), strategy)
fastapi_users = FastAPIUsers[User, uuid.UUID](manager, [backend])
app = FastAPI(lifespan=lifespan)
app.include_router(fastapi_users.get_auth_router(backend), prefix="/auth/jwt")
read, create, update = schemas.BaseUser[uuid.UUID], schemas.BaseUserCreate, schemas.BaseUserUpdate
app.include_router(fastapi_users.get_register_router(read, create), prefix="/auth")
app.include_router(fastapi_users.get_users_router(read, update), prefix="/users")
