"""Counts requests against a throttling policy: one look at four numbers per request.

The time of a policy is cut into windows that begin at multiples of its length since the epoch. Counts are in memory and
begin anew with the daemon.
"""

from typing import Final

from fgd.store.apis import ApiThrottle

UNITS_S: Final = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86400}
#: Callers counted one by one within a window; beyond it the rest have one count together.
_CALLERS_MAX: Final = 100_000
_OTHERS: Final = ""


class Limit:
    """The counts of one policy, for one API or for all of its APIs together."""

    __slots__ = ("_all", "_by_app", "_by_ip", "_by_user", "_policy", "_until_s", "_window_s")

    def __init__(self, policy: ApiThrottle) -> None:
        self._policy = policy
        self._window_s = policy.interval * UNITS_S[policy.unit]
        self._until_s = 0.0
        self._all = 0
        self._by_user: dict[str, int] = {}
        self._by_app: dict[str, int] = {}
        self._by_ip: dict[str, int] = {}

    @property
    def policy(self) -> ApiThrottle:
        return self._policy

    def take(self, now_s: float, user: str, app: str, ip: str) -> bool:
        """Counts a request, unless that would be one too many of any kind.

        Args:
            now_s: epoch seconds.
            user, app: who asked, "" for nobody known.
            ip: the address that the request came from.
        """
        if now_s >= self._until_s:
            self._until_s = (now_s // self._window_s + 1) * self._window_s
            self._all = 0
            self._by_user, self._by_app, self._by_ip = {}, {}, {}
        policy = self._policy
        if policy.api_limit and self._all >= policy.api_limit:
            return False
        counts: list[tuple[dict[str, int], str]] = []
        for limit, table, name in (
            (policy.user_limit, self._by_user, user),
            (policy.app_limit, self._by_app, app),
            (policy.ip_limit, self._by_ip, ip),
        ):
            if limit and name:
                if name not in table and len(table) >= _CALLERS_MAX:
                    name = _OTHERS
                if table.get(name, 0) >= limit:
                    return False
                counts.append((table, name))
        self._all += 1
        for table, name in counts:
            table[name] = table.get(name, 0) + 1
        return True
