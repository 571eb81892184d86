"""`visiona audit`: verifying what is on record, and what others need to verify it elsewhere."""

import json
from typing import Annotated

import typer

from visiona.audit.model import Report

commands = typer.Typer(help="Verify the audit log.", no_args_is_help=True)

# Everything below loads what it needs when it runs: `visiona --help` must not load a web server.
# ruff: noqa: PLC0415


def register(app: typer.Typer) -> None:
    """Add the commands of the audit log to `app`."""
    commands.command("verify")(verify)
    commands.command("anchor")(anchor)
    commands.command("key")(key)
    app.add_typer(commands, name="audit", rich_help_panel="Operating a server")


def verify(
    anchors: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where the anchors lie, instead of VISIONA_ANCHORS_URL: a copy."),
    ] = None,
    keys: Annotated[
        list[str] | None,
        typer.Option(
            "--key", metavar="KEY", help="Trust this key instead of the server's own; may be repeated."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Compute the whole chain again and compare it with the anchors; end with 1 where something is wrong."""
    from visiona.entrypoints.cli.administration import verify_audit_log

    report = verify_audit_log(anchors, keys or [])
    typer.echo(json.dumps(_as_json(report), indent=2) if as_json else "\n".join(_lines(report)))
    raise typer.Exit(0 if report.ok else 1)


def anchor() -> None:
    """Chain and anchor now what is new, as the worker does every few minutes."""
    from visiona.entrypoints.cli.administration import anchor_audit_log

    anchor_audit_log()
    typer.echo("The audit log is anchored.")


def key() -> None:
    """Show the public key that anchors are signed with. Keep a copy where this server cannot change it."""
    from visiona.entrypoints.cli.administration import audit_key

    typer.echo(audit_key())


def _lines(report: Report) -> list[str]:
    lines = [
        f"Entries   {report.entries} in the chain, {report.unchained} to come",
        f"Anchors   {report.anchors}, the last one of number {report.anchored_seq}",
        f"Head      {report.head}",
    ]
    if report.erased:
        lines.append(f"Erased    {report.erased} entries have lost their person by an erasure")
    if report.voided_anchors:
        lines.append(f"Restored  {report.voided_anchors} anchors are of entries that a restore has undone")
    lines += [f"{finding.trouble.value.upper():<15} {finding.text}" for finding in report.findings]
    if report.count > len(report.findings):
        lines.append(f"and {report.count - len(report.findings)} more")
    lines.append("The audit log is whole." if report.ok else "The audit log is NOT as it was written.")
    return lines


def _as_json(report: Report) -> dict[str, object]:
    return {
        "ok": report.ok,
        "entries": report.entries,
        "unchained": report.unchained,
        "erased": report.erased,
        "head": report.head,
        "anchors": report.anchors,
        "anchored_seq": report.anchored_seq,
        "voided_anchors": report.voided_anchors,
        "count": report.count,
        "findings": [
            {
                "trouble": finding.trouble.value,
                "text": finding.text,
                "seq": finding.seq,
                "entry_id": finding.entry_id,
            }
            for finding in report.findings
        ],
    }
