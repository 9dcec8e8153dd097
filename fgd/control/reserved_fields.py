"""The body of update-function-reserved-instances-count (rest-api 2.7; user guide, section 11)."""

from collections.abc import Mapping
from typing import Final, get_args

import msgspec

from fgd.control import rules
from fgd.control.features import says_nothing
from fgd.cron import BadCron, parse_cron
from fgd.errors import BadParameter, TooManyReserved
from fgd.model import CronPolicy, Level, MetricPolicy, Reservation

COUNT_MAX: Final = 1000
#: Policies of one reservation.
POLICIES_MAX: Final = 20
_NAME_MAX_CHARS: Final = 64
#: The largest number of seconds that a date can be made of.
_TIME_MAX: Final = 253_402_300_799
_METRIC: Final = "Concurrency"
_LEVELS: Final = tuple(level for level in get_args(Level) if level)
_TACTICS: Final = "tactics_config"


def parse_reservation(
    body: Mapping[str, object], func_id: str, qualifier: str, old: Reservation | None, now_s: float
) -> Reservation:
    """The reservation that a request sets; it replaces all of the former one.

    Args:
        body: the JSON object.
        func_id, qualifier: what it is of.
        old: the one that is there. A scheduled policy that stays the same stays in force.
        now_s: epoch seconds.

    Raises:
        TooManyReserved: a count is over 1000.
        BadParameter: anything else; names the field.
    """
    count = _count("count", body.get("count"))
    idle_mode = body.get("idle_mode")
    tactics = body.get(_TACTICS)
    if tactics is None:
        tactics = {}
    if not isinstance(tactics, dict):
        raise BadParameter(f"{_TACTICS}: must be an object, not {rules.shown(tactics)}")
    crons = tuple(_cron(where, one, count) for where, one in _items(tactics, "cron_configs"))
    metrics = tuple(_metric(where, one, count) for where, one in _items(tactics, "metric_configs"))
    names = [one.name for one in crons] + [one.name for one in metrics]
    if len(names) > POLICIES_MAX:
        raise BadParameter(f"{_TACTICS}: must hold at most {POLICIES_MAX} policies, not {len(names)}")
    for place, name in enumerate(names):
        if name in names[:place]:
            raise BadParameter(f"{_TACTICS}: two policies have the name {name!r}; each needs one of its own")
    level = _level(tactics)
    if level and names:
        raise BadParameter(
            f"{_TACTICS}.recommend_config: cannot be together with other policies; leave cron_configs and"
            " metric_configs empty, or this field"
        )
    kept = {_timeless(one): one.since_s for one in (old.crons if old else ())}
    return Reservation(
        func_id=func_id,
        qualifier=qualifier,
        count=count,
        idle_mode=False if idle_mode is None else rules.flag("idle_mode", idle_mode),
        crons=tuple(msgspec.structs.replace(one, since_s=kept.get(one, now_s)) for one in crons),
        metrics=metrics,
        level=level,
    )


def _timeless(policy: CronPolicy) -> CronPolicy:
    return msgspec.structs.replace(policy, since_s=0.0)


def is_nothing(reservation: Reservation) -> bool:
    """Whether it keeps no instance and never will: that takes the reservation away."""
    return not (reservation.count or reservation.crons or reservation.metrics or reservation.level)


def _count(field: str, value: object) -> int:
    if type(value) is int and value > COUNT_MAX:
        raise TooManyReserved(f"{field}: must be a whole number from 0 to {COUNT_MAX}, not {rules.shown(value)}")
    return rules.whole(field, value, 0, COUNT_MAX, BadParameter)


def _items(tactics: Mapping[str, object], field: str) -> list[tuple[str, Mapping[str, object]]]:
    """Where each policy of a list is, and the policy."""
    value = tactics.get(field)
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadParameter(f"{_TACTICS}.{field}: must be a list, not {rules.shown(value)}")
    found: list[tuple[str, Mapping[str, object]]] = []
    for number, one in enumerate(value):
        where = f"{_TACTICS}.{field}[{number}]"
        if not isinstance(one, dict):
            raise BadParameter(f"{where}: must be an object, not {rules.shown(one)}")
        found.append((where, one))
    return found


def _name(where: str, value: object) -> str:
    name = rules.text_of(f"{where}.name", value)
    if not name.strip() or len(name) > _NAME_MAX_CHARS or not name.isprintable():
        raise BadParameter(f"{where}.name: must be 1 to {_NAME_MAX_CHARS} characters, not {rules.shown(value)}")
    return name


def _cron(where: str, one: Mapping[str, object], count: int) -> CronPolicy:
    text = rules.text_of(f"{where}.cron", one.get("cron"))
    try:
        parse_cron(text)
    except BadCron as error:
        raise BadParameter(f"{where}.cron: {error}") from None
    start_s, expired_s = (_moment(f"{where}.{field}", one.get(field)) for field in ("start_time", "expired_time"))
    if expired_s and expired_s <= start_s:
        raise BadParameter(f"{where}.expired_time: must be later than start_time, {start_s}, not {expired_s}")
    return CronPolicy(
        name=_name(where, one.get("name")),
        cron=text,
        count=_at_least(f"{where}.count", one.get("count"), count),
        start_s=start_s,
        expired_s=expired_s,
    )


def _metric(where: str, one: Mapping[str, object], count: int) -> MetricPolicy:
    kind = one.get("type")
    if kind not in (None, "", _METRIC):
        raise BadParameter(f"{where}.type: must be {_METRIC}, not {rules.shown(kind)}")
    least = one.get("min")
    return MetricPolicy(
        name=_name(where, one.get("name")),
        threshold=rules.whole(f"{where}.threshold", one.get("threshold"), 1, 99, BadParameter, "percent"),
        least=count if least is None else _at_least(f"{where}.min", least, count),
    )


def _at_least(field: str, value: object, count: int) -> int:
    found = _count(field, value)
    if found < count:
        raise BadParameter(f"{field}: must be at least the count that is always kept, {count}, not {found}")
    return found


def _moment(field: str, value: object) -> int:
    return 0 if value is None else rules.whole(field, value, 0, _TIME_MAX, BadParameter, "(epoch seconds)")


def _level(tactics: Mapping[str, object]) -> Level:
    config = tactics.get("recommend_config")
    if config is None or says_nothing(config):
        return ""
    field = f"{_TACTICS}.recommend_config"
    if not isinstance(config, dict):
        raise BadParameter(f"{field}: must be an object, not {rules.shown(config)}")
    level = config.get("level")
    for known in get_args(Level):
        if known and level == known:
            found: Level = known
            return found
    raise BadParameter(f"{field}.level: must be one of {', '.join(_LEVELS)}, not {rules.shown(level)}")
