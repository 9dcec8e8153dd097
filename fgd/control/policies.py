"""How many instances the policies of a reservation want at a moment (user guide, section 11).

Everything here is synchronous and takes the time as an argument; `fgd.control.planner` asks.
"""

import math
from collections.abc import Sequence

from fgd.cron import parse_cron
from fgd.model import CronPolicy, MetricPolicy


class Schedule:
    """The scheduled policies of one reservation: of those that are valid, the one whose moment came last decides."""

    def __init__(self, policies: Sequence[CronPolicy]) -> None:
        self._policies = [(policy, parse_cron(policy.cron)) for policy in policies]
        #: The last moment of each, and until when it has been looked for.
        self._last = [-math.inf] * len(policies)
        self._looked_s = -math.inf

    def count(self, now_s: float) -> int:
        """Instances wanted now; 0 where no policy is in force."""
        best = (-math.inf, 0)
        # The clock may be set back.
        looked_s = self._looked_s if self._looked_s <= now_s else -math.inf
        for place, (policy, cron) in enumerate(self._policies):
            begin_s = max(policy.start_s, policy.since_s)
            if now_s < begin_s or (policy.expired_s and now_s >= policy.expired_s):
                continue
            found = cron.last(max(begin_s, looked_s), now_s)
            if found is not None:
                self._last[place] = found
            if begin_s <= self._last[place] <= now_s:
                best = max(best, (self._last[place], policy.count))
        self._looked_s = now_s
        return best[1]


class Tracker:
    """One metric policy: up at once, down by a tenth a minute, so that a short lull does not cost the next peak."""

    def __init__(self, policy: MetricPolicy) -> None:
        self.policy = policy
        self.count = policy.least

    def adjust(self, used: float) -> int:
        """Instances wanted for the next minute.

        Args:
            used: instances in use in the minute that is over, on average.
        """
        # A little less than what divides evenly is none of the instances' business: 0.7 * 10 is not quite 7.
        wanted = max(self.policy.least, math.ceil(used * 100 / self.policy.threshold - 1e-9))
        self.count = max(wanted, self.count - max(1, self.count // 10))
        return self.count
