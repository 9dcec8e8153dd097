"""The field `tags` of create-function. The tags themselves are not part of a version: see `fgd.control.tags`."""

from collections.abc import Mapping

from fgd.control.tag_rules import parse_created_tags
from fgd.errors import BadParameter
from fgd.model import Function


class TagsFacet:
    """Checks the field; stores nothing with the function."""

    wire: tuple[str, ...] = ("tags",)
    seen_by_instances: tuple[str, ...] = ()

    def parse(self, project_id: str, body: Mapping[str, object], old: Function | None) -> Mapping[str, object]:
        """Gives no field of `Function`.

        Raises:
            BadParameter, TooManyTags: see `parse_created_tags`; BadParameter too when the function is there already.
        """
        tags = parse_created_tags(body.get("tags"))
        if tags and old is not None:
            raise BadParameter(
                "tags: are part of a function's creation only; later use its tags/create and tags/delete"
            )
        return {}

    def check(self, function: Function) -> None:
        pass

    def show(self, function: Function) -> Mapping[str, object]:
        """Answers about a function do not carry its tags."""
        return {}
