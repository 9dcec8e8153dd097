"""`fgd audit`: who did what, and what came of it; as a table, JSON, CSV or a workbook."""

import argparse
import csv
import json
import re
import time
import zipfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from fgd.cli.client import Client
from fgd.cli.report import UsageError, print_json, print_table

EXPORT_MAX: Final = 5000
_PAGE: Final = 1000
_COLUMNS: Final = (
    "Trace Name", "Resource Type", "Trace Source", "Resource ID", "Resource Name", "Trace Status", "Operator",
    "Operation Time", "Source IP", "Code", "Trace ID", "Request", "Response",
)  # fmt: skip
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
#: What a spreadsheet would take for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_CELL_MAX: Final = 32_000
_NOT_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def audit(args: argparse.Namespace) -> None:
    """Traces that match all filters, newest first."""
    if not 1 <= args.limit <= EXPORT_MAX:
        raise UsageError(f"--limit: must be 1 to {EXPORT_MAX}, not {args.limit}")
    if args.export is not None and args.export.suffix not in (".csv", ".xlsx"):
        raise UsageError(f"--export: the file's name must end with .csv or .xlsx, not {args.export.name!r}")
    client = Client(args.admin_socket)
    query = {
        "trace_name": args.name, "resource_name": args.resource, "resource_id": args.resource_id,
        "resource_type": args.type, "user": args.user, "trace_status": args.status,
        "from": _moment_ms("--since", args.since), "to": _moment_ms("--until", args.until),
        "all_projects": "true" if args.all_projects else "",
    }  # fmt: skip
    traces = _all(client, query, EXPORT_MAX if args.export else args.limit)
    if args.export is not None:
        _export(args.export, traces)
        print(f"{len(traces)} traces in {args.export}")
    elif args.json:
        print_json({"traces": traces})
    else:
        rows = [
            (
                _time(one), one["trace_name"], one["resource_type"], one["resource_name"], one["user"]["name"],
                one["source_ip"], one["trace_status"], one["code"],
            )
            for one in traces
        ]  # fmt: skip
        head = ("TIME", "OPERATION", "RESOURCE", "NAME", "USER", "FROM", "STATUS", "CODE")
        print_table(head, rows, empty="no such trace in the last seven days")


def _all(client: Client, query: dict[str, object], most: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    path = f"/fgd/v1/projects/{client.project_id}/audit"
    marker = ""
    while len(found) < most:
        size = min(_PAGE, most - len(found))
        answer = client.call("GET", path, query={**query, "limit": size, "next": marker})
        found += answer["traces"]
        marker = answer["meta_data"]["marker"] or ""
        if not marker:
            break
    return found


def _moment_ms(option: str, text: str) -> int | None:
    """Epoch milliseconds of `12h` (ago) or of an ISO moment; None for ""."""
    if not text:
        return None
    if (found := re.fullmatch(r"(\d{1,9})([smhd])", text)) is not None:
        return int((time.time() - int(found[1]) * _UNITS_S[found[2]]) * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option}: must be like 30m, 12h, 2d or 2026-01-31T12:00:00Z, not {text!r}") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _time(trace: dict[str, Any]) -> str:
    return datetime.fromtimestamp(trace["time"] / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _export(path: Path, traces: Iterable[dict[str, Any]]) -> None:
    rows = [_COLUMNS, *(_row(one) for one in traces)]
    try:
        if path.suffix == ".csv":
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([_harmless(cell) for cell in row] for row in rows)
        else:
            _write_workbook(path, rows)
    except OSError as error:
        raise UsageError(f"--export: {path}: {error.strerror}") from error


def _row(trace: dict[str, Any]) -> tuple[str, ...]:
    return (
        trace["trace_name"], trace["resource_type"], trace["service_type"], trace["resource_id"],
        trace["resource_name"], trace["trace_status"], trace["user"]["name"], _time(trace), trace["source_ip"],
        str(trace["code"]), trace["trace_id"], json.dumps(trace["request"], ensure_ascii=False),
        json.dumps(trace["response"], ensure_ascii=False),
    )  # fmt: skip


def _harmless(cell: str) -> str:
    """Names come from clients: none may become a formula where the file is opened."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _write_workbook(path: Path, rows: Iterable[Sequence[str]]) -> None:
    """The least that a workbook (Office Open XML, ECMA-376) must have: one sheet of texts."""
    lines = "".join(
        f'<row r="{number}">'
        + "".join(
            f'<c t="inlineStr"><is><t xml:space="preserve">{escape(_NOT_XML.sub("", cell[:_CELL_MAX]))}</t></is></c>'
            for cell in row
        )
        + "</row>"
        for number, row in enumerate(rows, 1)
    )
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    types = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{types}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{types}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="rId1" Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{relations}"><sheets>'
        '<sheet name="Traces" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="rId1" Type="{relations}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{lines}</sheetData></worksheet>',
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, head + text)
