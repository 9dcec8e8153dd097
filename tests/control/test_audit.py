"""What of a request a trace keeps."""

from typing import Any

from fgd.control.audit import MASK, masked


def test_secrets_are_masked_by_the_names_of_their_fields_wherever_they_are() -> None:
    sent: dict[str, Any] = {
        "name": "n", "db_password": "p", "none": [{"kafka_password": "p", "keep": [1, {"access_secret": ["x"]}]}],
        "encrypted_user_data": "{}", "app_code": "c", "code": "c", "token": "", "custom": "hidden",
        "func_code": {"file": "UEs="},
    }  # fmt: skip

    assert {
        "name": "n", "db_password": MASK, "none": [{"kafka_password": MASK, "keep": [1, {"access_secret": MASK}]}],
        "encrypted_user_data": MASK, "app_code": MASK, "code": MASK, "token": "", "custom": MASK, "func_code": MASK,
    } == masked(sent, {"custom"})  # fmt: skip
    assert "p" == sent["db_password"], "what was sent is left as it is"


def test_what_is_nested_deeply_is_no_trouble() -> None:
    value: Any = "end"
    for _ in range(5000):
        value = [value]

    assert isinstance(masked(value), list)
