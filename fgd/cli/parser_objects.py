"""Options of `fgd buckets` and `fgd objects`."""

import argparse

from fgd.cli.parser_records import Commands


def add_objects(commands: Commands) -> None:
    """`fgd buckets`, `fgd objects`."""
    buckets = commands.group("buckets", "buckets of the node's object store")
    buckets.add("list", "objects:list_buckets", "show the buckets of the project")
    create = buckets.add("create", "objects:create_bucket", "make a bucket")
    create.add_argument("bucket", metavar="BUCKET", help="3-63 lower-case letters, digits, hyphens and periods")
    delete = buckets.add("delete", "objects:delete_bucket", "delete an empty bucket")
    delete.add_argument("bucket", metavar="BUCKET")

    objects = commands.group("objects", "objects in the buckets of the node's object store")
    listing = objects.add("list", "objects:list_objects", "show the objects of a bucket")
    listing.add_argument("bucket", metavar="BUCKET")
    listing.add_argument("--prefix", default="", metavar="TEXT", help="only those whose key begins with this")
    put = _named(objects, "put", "put_object", "store a file as an object, in the place of one of that key")
    put.add_argument("file", metavar="FILE", help="the file, or - for standard input")
    put.add_argument("--content-type", default="application/octet-stream", metavar="TYPE",
                     help="what kind of content it is (default application/octet-stream)")  # fmt: skip
    get = _named(objects, "get", "get_object", "write an object into a file")
    get.add_argument("file", nargs="?", default="", metavar="FILE",
                     help="the file, or - for standard output (default: the last part of the key)")  # fmt: skip
    _named(objects, "delete", "delete_object", "delete an object")


def _named(commands: Commands, name: str, run: str, text: str) -> argparse.ArgumentParser:
    parser = commands.add(name, f"objects:{run}", text)
    parser.add_argument("object", metavar="BUCKET/KEY", help="bucket and key; keys may hold slashes")
    return parser
