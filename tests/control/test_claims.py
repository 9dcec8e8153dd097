"""What only one trigger of a project may have."""

from dataclasses import replace

import pytest

from fgd.control.claims import Claimed, Claims
from fgd.control.kinds import Kind, check_kinds
from fgd.testing.trigger import PLACE, parse
from fgd_obs.trigger import Obs, ObsSettings


def kind() -> Kind:
    return check_kinds([("obs", Obs)])["OBS"]


def settings(**fields: str) -> ObsSettings:
    return parse(Obs, {"bucket": "b-1", "events": ["Put"], **fields})


def test_a_second_trigger_of_the_project_is_refused_with_the_code_of_its_type() -> None:
    claims = Claims()
    first, second = replace(PLACE, trigger_id="t1"), replace(PLACE, trigger_id="t2")
    claims.take(kind(), settings(), first)
    claims.take(kind(), settings(), first)
    with pytest.raises(Claimed, match="the OBS trigger t1 of") as refused:
        claims.take(kind(), settings(), second)

    assert ("FSS.1108", 403) == (refused.value.code, refused.value.status_hint)


def test_other_projects_prefixes_and_stores_are_apart() -> None:
    claims = Claims()
    claims.take(kind(), settings(), replace(PLACE, trigger_id="t1"))
    claims.take(kind(), settings(), replace(PLACE, trigger_id="t2", project_id="other"))
    claims.take(kind(), settings(prefix="a/"), replace(PLACE, trigger_id="t3"))
    claims.take(kind(), settings(store="far"), replace(PLACE, trigger_id="t4"))
    with pytest.raises(Claimed):
        claims.take(kind(), settings(store="far"), replace(PLACE, trigger_id="t5"))


def test_what_a_trigger_leaves_or_changes_is_free_again_and_a_refusal_changes_nothing() -> None:
    claims = Claims()
    first, second = replace(PLACE, trigger_id="t1"), replace(PLACE, trigger_id="t2")
    claims.take(kind(), settings(prefix="a/"), first)
    claims.take(kind(), settings(prefix="b/"), second)
    with pytest.raises(Claimed):
        claims.take(kind(), settings(prefix="b/"), first)
    with pytest.raises(Claimed):
        claims.take(kind(), settings(prefix="a/"), second)
    claims.take(kind(), settings(prefix="c/"), first)
    claims.take(kind(), settings(prefix="a/"), second)
    claims.leave("t2")
    claims.leave("t2")
    claims.take(kind(), settings(prefix="b/"), first)
    claims.take(kind(), settings(prefix="a/"), first)
