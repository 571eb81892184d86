"""The operator's commands: running, migrating and looking after a Visiona server."""

from typing import Annotated

import typer

users = typer.Typer(help="Look after people's accounts.", no_args_is_help=True)
billing = typer.Typer(help="Look after plans and payments.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the operator's commands to `app`."""
    app.command(rich_help_panel="Operating a server")(up)
    app.command(rich_help_panel="Operating a server")(serve)
    app.command(rich_help_panel="Operating a server")(worker)
    app.command(rich_help_panel="Operating a server")(migrate)
    app.command(rich_help_panel="Operating a server")(doctor)
    app.command(hidden=True)(sandbox)
    users.command("list")(user_list)
    users.command("show")(user_show)
    users.command("plan")(user_plan)
    users.command("promote")(user_promote)
    users.command("demote")(user_demote)
    app.add_typer(users, name="user", rich_help_panel="Operating a server")
    billing.command("sync")(billing_sync)
    billing.command("show")(billing_show)
    billing.command("refresh")(billing_refresh)
    app.add_typer(billing, name="billing", rich_help_panel="Operating a server")


# Everything below loads what it needs when it runs: `visiona --help` must not load a web server.
# ruff: noqa: PLC0415

Supervised = Annotated[
    bool, typer.Option("--supervised", hidden=True, help="End when standard input is closed.")
]


def up() -> None:
    """Start everything on this machine, with nothing to configure; Ctrl-C stops it."""
    from visiona.entrypoints.cli.supervisor import run_everything

    raise typer.Exit(run_everything())


def serve(supervised: Supervised = False) -> None:
    """Serve the API and the pages."""
    from visiona.entrypoints.cli.running import serve_forever

    serve_forever(supervised=supervised)


def worker(supervised: Supervised = False) -> None:
    """Run background jobs."""
    from visiona.entrypoints.cli.running import work_forever

    work_forever(supervised=supervised)


def sandbox(
    replicate_port: int | None = None,
    llm_port: int | None = None,
    stripe_port: int | None = None,
    clerk_port: int | None = None,
    mail_port: int | None = None,
    supervised: Supervised = False,
) -> None:
    """Serve the sandbox that stands in for providers without a key: those that are given a port."""
    from visiona.entrypoints.cli.running import SandboxPorts, serve_sandbox

    ports = SandboxPorts(
        replicate=replicate_port, llm=llm_port, stripe=stripe_port, clerk=clerk_port, mail=mail_port
    )
    serve_sandbox(ports, supervised=supervised)


def migrate() -> None:
    """Bring the database to this release: roles, tables, policies, plans."""
    from visiona.entrypoints.cli.administration import migrate_database

    applied = migrate_database()
    typer.echo("\n".join(f"applied {name}" for name in applied) or "The database is up to date.")


def doctor() -> None:
    """Check that everything Visiona depends on works, and say how to mend what does not."""
    from visiona.entrypoints.cli.administration import diagnose

    findings = diagnose()
    for finding in findings:
        typer.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.name}: {finding.message}")
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


def user_list() -> None:
    """Show all accounts: id, address, plan, since when, role, and whether the address is confirmed."""
    from visiona.entrypoints.cli.administration import list_users

    for user, plan in list_users():
        address = "confirmed" if user.email_verified else "unconfirmed"
        typer.echo(f"{user.id}\t{user.email}\t{plan}\t{user.created_at:%Y-%m-%d}\t{user.role}\t{address}")


def user_show(email: str) -> None:
    """Show the account with this e-mail address."""
    from visiona.entrypoints.cli.administration import find_user

    user, plan = find_user(email)
    typer.echo(f"Account   {user.id}, since {user.created_at:%Y-%m-%d}")
    typer.echo(f"Address   {user.email}, {'confirmed' if user.email_verified else 'not confirmed yet'}")
    typer.echo(f"Role      {user.role}")
    typer.echo(f"Plan      {plan}")


def user_plan(email: str, plan: str) -> None:
    """Put the account with this e-mail address on a plan."""
    from visiona.entrypoints.cli.administration import set_plan

    set_plan(email, plan)
    typer.echo(f"{email} is on the plan {plan} now.")


def user_promote(email: str) -> None:
    """Make the account with this e-mail address an administrator's."""
    from visiona.entrypoints.cli.administration import set_administrator

    user = set_administrator(email, administrator=True)
    typer.echo(f"{email} is an administrator now.")
    if not user.email_verified:
        typer.echo("Their address is not confirmed: make sure that the account is theirs.", err=True)


def user_demote(email: str) -> None:
    """Take administration away from the account with this e-mail address."""
    from visiona.entrypoints.cli.administration import set_administrator

    set_administrator(email, administrator=False)
    typer.echo(f"{email} is no administrator any more.")


def billing_sync(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; end with 1 where something differs.")
    ] = False,
) -> None:
    """Bring plans, prices, portal and webhook to Stripe as the plan file has them."""
    from visiona.entrypoints.cli.administration import publish_offers

    found = publish_offers(change=not check)
    for thing in found:
        typer.echo(f"{'ok  ' if thing.ok else 'MISS'}  {thing.what}")
    raise typer.Exit(0 if all(thing.ok for thing in found) else 1)


def billing_show(email: str) -> None:
    """Show somebody's subscription, invoices, and every change of their quota."""
    from visiona.entrypoints.cli.administration import billing_record
    from visiona.entrypoints.cli.billing import describe

    for line in describe(billing_record(email)):
        typer.echo(line)


def billing_refresh(email: str) -> None:
    """Read somebody's account at Stripe now, as the webhooks and the daily look do by themselves."""
    from visiona.entrypoints.cli.administration import look_at_payments

    look_at_payments(email)
    typer.echo("Read and put on record.")
