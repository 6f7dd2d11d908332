"""The verifier of a service: it checks tokens here, and follows the feed of revocations."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar

from ._claims import Claims
from ._client import Client
from ._feed import Feed, Moment, State
from ._follower import FAULTS, Follower, pull
from ._key_store import KeyStore
from ._metrics import Metrics
from ._refusal import Denied, MissingScope, NotFresh, NoToken, Refusal, Refused, Unavailable
from ._settings import (
    Settings,
    SettingsError,
    audiences_of,
    check_secret,
    check_token,
    from_environment,
    is_loopback,
    normalize_issuer,
)
from ._verifier import Verifier, split

log = logging.getLogger("tessera_verify")

#: How long a start waits until the service can answer, in seconds.
START_WAIT = 5.0
#: How often the keys are read because a token names an unknown one, in milliseconds, and how many requests wait for it.
UNKNOWN_KEY_EVERY = 10_000.0
_UNKNOWN_KEY_WAITERS = 16

Self = TypeVar("Self", bound="Tessera")
_instances: weakref.WeakSet[Tessera] = weakref.WeakSet()


def system_clock() -> Moment:
    """The time on this machine."""
    return Moment(time.monotonic() * 1000, time.time() * 1000)


class Tessera:
    """Verifies access tokens of Tessera in this process, and knows within a second which were revoked.

    One daemon thread follows the feed. It serves threads and event loops, and starts anew after a fork.
    """

    def __init__(
        self,
        issuer: str,
        *,
        audience: str | Sequence[str],
        secret: str | None = None,
        feed_token: str | None = None,
        feed: bool = True,
        max_age: float = 5.0,
        when_stale: Literal["closed", "open"] = "closed",
        open_for: float = 900.0,
        fresh_for: int = 900,
        leeway: int = 2,
        mode: Literal["stream", "pull"] = "stream",
        clock: Callable[[], Moment] = system_clock,
    ) -> None:
        issuer = normalize_issuer(issuer)
        settings = Settings(
            issuer=issuer,
            audiences=audiences_of(audience),
            secret=None if secret is None else check_secret(secret),
            feed_token=None if feed_token is None else check_token(feed_token),
            feed=feed,
            max_age=max_age,
            when_stale=when_stale,
            open_for=open_for,
            fresh_for=fresh_for,
            leeway=leeway,
            mode=mode,
        )
        self._set_up(settings, clock)

    @classmethod
    def from_env(cls: type[Self], environment: Mapping[str, str] | None = None, **options: Any) -> Self:
        """Reads `TESSERA_ISSUER`, `TESSERA_AUDIENCE`, `TESSERA_SECRET`, `TESSERA_FEED_TOKEN` and `TESSERA_FEED`, or the
        files that `…_FILE` names. `options` are those of `Tessera(…)` that have no variable, such as `when_stale`.
        """
        taken = options.keys() - {"max_age", "when_stale", "open_for", "fresh_for", "leeway", "mode", "clock"}
        if taken:
            raise TypeError(f"from_env() takes no {sorted(taken)[0]}: the environment has it")
        clock = options.pop("clock", system_clock)
        self = cls.__new__(cls)
        self._set_up(replace(from_environment(environment), **options), clock)
        return self

    def _set_up(self, settings: Settings, clock: Callable[[], Moment]) -> None:
        settings = _checked(settings)
        self.settings = settings
        self._clock = clock
        self._keys = KeyStore(settings.secret)
        self._verifier = Verifier(settings.issuer, settings.audiences, settings.leeway)
        open_for = settings.open_for if settings.when_stale == "open" else None
        self._feed = Feed(settings.max_age, open_for) if settings.feed else None
        self._metrics = Metrics()
        self._client: Client | None = None
        self._beat: Callable[[], None] | None = None
        self._is_stopped = False
        self._reset()
        _instances.add(self)

    def _reset(self) -> None:
        """Makes what a fork does not copy: threads and locks. What is known stays."""
        self._follower: Follower | None = None
        self._is_started = False
        self._is_starting = False
        self._ready = threading.Event()
        self._lock = threading.Lock()
        self._fetch_lock = threading.Lock()
        self._waiters = threading.BoundedSemaphore(_UNKNOWN_KEY_WAITERS)
        self._fetched: Moment | None = None
        self._pull_failed: Moment | None = None
        self._metrics.reset_lock()

    # Starting and stopping

    def start(self: Self) -> Self:
        """Starts to follow the feed, and waits up to 5 seconds until the service can answer. Calling it is optional:
        the first request starts it too.
        """
        with self._lock:
            if not self._is_started or self._is_stopped:
                self._is_stopped = False
                self._is_started = self._is_starting = True
                self._ready.clear()
                if self._beat is None and self.settings.mode == "stream" and self._has_work():
                    self._follower = Follower(
                        self._own_client(), self._feed, self._keys, self._clock, self._changed, self._metrics.resynced
                    )
                    self._follower.start()
        self._changed()
        if self._follower is not None and not self._ready.wait(START_WAIT):
            log.warning("Tessera did not answer within %s seconds: requests get 503 until it does", START_WAIT)
        self._is_starting = False
        return self

    def _must_start(self) -> bool:
        """True if a request must wait for the start, which the first one of them causes."""
        return not self._is_started or (self._is_starting and not self._ready.is_set())

    def stop(self) -> None:
        """Stops following the feed. From then on the service is stale."""
        with self._lock:
            follower, self._follower = self._follower, None
            self._is_stopped = True
        if follower is not None:
            follower.stop()

    def _has_work(self) -> bool:
        return self._feed is not None or self._keys.are_published

    def _own_client(self) -> Client:
        if self._client is None:
            self._client = Client(self.settings.issuer, self.settings.feed_token)
        return self._client

    def _changed(self) -> None:
        moment = self._clock()
        is_known = self._feed is None or self._feed.state(moment) is State.FRESH
        if is_known and self._keys.current(moment) is not None:
            self._ready.set()

    @property
    def state(self) -> State:
        """What the service can say about revocations now."""
        self._take_beat()
        return State.OFF if self._feed is None else self._feed.state(self._clock())

    def metrics(self) -> str:
        """The metrics in the text format of Prometheus."""
        self._take_beat()
        return self._metrics.text(self._feed, self._keys, self._clock())

    # Verifying

    def verify(self, token: str | None, *, wait: bool = True) -> Claims:
        """Verifies an access token. It raises a `Denied` if the request must be refused. It can wait for the issuer: when
        the service starts, for a key that is not known, and with `mode="pull"`. With `wait=False` it never waits.
        """
        return self._counted(self._verify if wait else self._judge_if_any, token)

    def _judge_if_any(self, token: str | None) -> Claims:
        if token is None:
            raise NoToken
        return self._judge(token)

    def _verify(self, token: str | None) -> Claims:
        if token is None:
            raise NoToken
        if self._must_start():
            self.start()
        if self._must_pull():
            self._pull()
        try:
            return self._judge(token)
        except Refused as refused:
            if not self._fetches_for(refused):
                raise
        self._fetch_for_unknown_key()
        return self._judge(token)

    async def verify_async(self, token: str | None) -> Claims:
        """Like `verify`, for an event loop: where it must wait, a thread waits."""
        if token is None:
            return self._counted(self._verify, None)
        loop = asyncio.get_running_loop()
        if self._must_start():
            await loop.run_in_executor(None, self.start)
        if self._must_pull():
            await loop.run_in_executor(None, self._pull)
        try:
            return self._counted(self._judge, token, self._fetches_for)
        except _Again:
            await loop.run_in_executor(None, self._fetch_for_unknown_key)
        return self._counted(self._judge, token)

    def _counted(
        self,
        verify: Callable[[Any], Claims],
        token: str | None,
        again: Callable[[Refused], bool] | None = None,
    ) -> Claims:
        try:
            return verify(token)
        except Denied as denied:
            if again is not None and isinstance(denied, Refused) and again(denied):
                raise _Again from denied
            if isinstance(denied, (Refused, Unavailable)):
                self._metrics.refused(denied)
            raise

    def _judge(self, token: str) -> Claims:
        self._take_beat()
        moment = self._clock()
        keys = self._keys.current(moment)
        if keys is None:
            split(token)
            raise Unavailable
        claims, kid = self._verifier.verify(token, keys, self._judged_at(moment))
        return claims if self._feed is None else self._judge_revoked(self._feed, claims, kid, moment)

    def _judged_at(self, moment: Moment) -> int:
        return int(moment.wall // 1000) if self._feed is None else self._feed.judged_at(moment)

    def _judge_revoked(self, feed: Feed, claims: Claims, kid: str, moment: Moment) -> Claims:
        # The list refuses in every state.
        if feed.refuses(claims, kid):
            raise Refused(Refusal.REVOKED)
        state = feed.state(moment)
        if state is State.FRESH:
            return claims
        if state is State.STALE and feed.is_open(moment):
            self._metrics.accepted_stale()
            return replace(claims, stale=True)
        raise Unavailable

    def require_fresh(self, claims: Claims) -> Claims:
        """Returns the claims, or raises `NotFresh` if the user gave no password within `fresh_for` seconds."""
        if claims.is_fresh(self.settings.fresh_for, self._judged_at(self._clock())):
            return claims
        raise NotFresh(self.settings.fresh_for)

    def require_scope(self, claims: Claims, scope: str) -> Claims:
        """Returns the claims, or raises `MissingScope`."""
        if claims.has_scope(scope):
            return claims
        raise MissingScope(scope)

    # Asking the issuer within a request

    def _take_beat(self) -> None:
        if self._beat is not None:
            self._beat()

    def _must_pull(self) -> bool:
        if self.settings.mode != "pull" or self._beat is not None:
            return False
        moment = self._clock()
        is_old = self._feed is not None and self._feed.state(moment) is not State.FRESH
        return is_old or self._keys.is_due(moment)

    def _pull(self) -> None:
        """One fetch before the verdict, which all waiting requests share."""
        with self._fetch_lock:
            moment = self._clock()
            failed, self._pull_failed = self._pull_failed, None
            if failed is not None and moment.since(failed) < 1000.0:
                self._pull_failed = failed
                return
            if not self._must_pull():
                return
            try:
                if self._feed is not None and self._feed.state(moment) is not State.FRESH:
                    if pull(self._own_client(), self._feed, self._clock, self._metrics.resynced):
                        self._keys.hurry()
                if self._keys.is_due(moment):
                    self._keys.fetch(self._own_client(), moment, START_WAIT / 2)
            except FAULTS as error:
                self._pull_failed = self._clock()
                log.warning("Tessera could not be asked: %s", error)

    def _fetches_for(self, refused: Refused) -> bool:
        """True if the keys are read again before this refusal is final."""
        is_unknown = refused.refusal is Refusal.KEY_UNKNOWN and self._keys.are_published
        if not is_unknown or self._beat is not None or self._is_stopped:
            return False
        is_recent = self._fetched is not None and self._clock().since(self._fetched) < UNKNOWN_KEY_EVERY
        return self._fetch_lock.locked() or not is_recent

    def _fetch_for_unknown_key(self) -> None:
        """One fetch in 10 seconds in all. Requests that arrive meanwhile share it, and some more are refused at once."""
        if not self._waiters.acquire(blocking=False):
            return
        try:
            with self._fetch_lock:
                moment = self._clock()
                if self._fetched is None or moment.since(self._fetched) >= UNKNOWN_KEY_EVERY:
                    self._fetched = moment
                    self._keys.fetch(self._own_client(), moment, 2.0)
        except FAULTS as error:
            log.warning("the keys of Tessera could not be read: %s", error)
        finally:
            self._waiters.release()


class _Again(Exception):
    """The keys are read, and then the token is judged again."""


def _checked(settings: Settings) -> Settings:
    """Refuses a feed without a token. On a developer's machine there can be none."""
    if settings.feed and settings.feed_token is None:
        if not is_loopback(settings.issuer):
            raise SettingsError(
                "TESSERA_FEED_TOKEN is missing: set it to an API token with the scope revocations:read, or set "
                "TESSERA_FEED=off to accept tokens until they expire, even after a logout"
            )
        log.warning("TESSERA_FEED_TOKEN is missing: this service accepts tokens until they expire, even after a logout")
        settings = replace(settings, feed=False)
    if not 0 <= settings.leeway <= 60:
        raise SettingsError("leeway must be 0 to 60 seconds")
    if settings.max_age <= 0 or settings.open_for < 0 or settings.fresh_for < 0:
        raise SettingsError("max_age, open_for and fresh_for must be positive numbers of seconds")
    if settings.when_stale not in ("closed", "open") or settings.mode not in ("stream", "pull"):
        raise SettingsError("when_stale must be closed or open, and mode must be stream or pull")
    return settings


def _forked() -> None:
    for tessera in list(_instances):
        tessera._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
