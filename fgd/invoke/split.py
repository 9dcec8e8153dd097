"""Which version of an alias a request goes to.

Theory of operation of weights: not a die for each request, but a walk around a circle in steps of the golden ratio,
which fills every arc in proportion to its length after few steps. So 5 % of a hundred requests are five, one or two
more or less, where a die gives anything from one to ten; and the turns are spread, not in runs.
"""

import random
from collections.abc import Iterable

from fgd.model import Alias, Function

_GOLDEN = 0.6180339887498949

type Headers = Iterable[tuple[bytes, bytes]]


class Split:
    """An alias as requests see it. `main` and `additional` are set by its directory."""

    __slots__ = ("_at", "_rules", "_share", "additional", "alias", "main")

    def __init__(self, alias: Alias, main: Function, additional: Function | None) -> None:
        self.alias = alias
        self.main = main
        self.additional = additional
        self._share = alias.weight / 100
        self._at = random.random()
        self._rules = [
            (rule.name.encode("utf-8"), frozenset(value.encode("utf-8") for value in rule.values))
            for rule in alias.rules
        ]

    def pick(self, headers: Headers = ()) -> Function:
        """The version for one request.

        Args:
            headers: of the request, names in lower case.
        """
        if self.additional is None:
            return self.main
        if self._rules:
            return self.additional if self._met(headers) else self.main
        at = self._at + _GOLDEN
        if at >= 1.0:
            at -= 1.0
        self._at = at
        return self.additional if at < self._share else self.main

    def _met(self, headers: Headers) -> bool:
        sent: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            sent.setdefault(name, []).append(value.strip())
        results = (any(value in values for value in sent.get(name, ())) for name, values in self._rules)
        return all(results) if self.alias.combine == "and" else any(results)
