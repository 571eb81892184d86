"""The page for a person who opens the sandbox in a browser."""

from html import escape

from litestar import MediaType, Response, get

from visiona.sandbox.replicate.records import Job
from visiona.sandbox.replicate.service import TheSandbox

_SHOWN = 40

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="5">
<title>Replicate sandbox</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 3rem auto; padding: 0 1.5rem;
       color: #1d2330; background: #f7f7f5; }}
h1 {{ font-size: 1.6rem; margin: 0 0 .5rem; }}
.note {{ border-left: 4px solid #c4472b; background: #fff; padding: .8rem 1.2rem; margin: 1rem 0 2rem; }}
table {{ border-collapse: collapse; width: 100%; background: #fff; }}
th, td {{ text-align: left; padding: .45rem .8rem; border-bottom: 1px solid #e6e4de; font-size: .9rem; }}
code {{ font-size: .85rem; }}
.succeeded {{ color: #1b7a43; }} .failed, .aborted, .canceled {{ color: #b3341b; }}
@media (prefers-color-scheme: dark) {{
  body {{ color: #e8e6e0; background: #14161b; }} .note, table {{ background: #1d2027; }}
  th, td {{ border-color: #2c3039; }} .succeeded {{ color: #6fd39a; }}
  .failed, .aborted, .canceled {{ color: #f0937c; }}
}}
</style>
</head>
<body>
<h1>Replicate sandbox</h1>
<p class="note">This is a stand-in that runs on this machine. It is not Replicate and does not belong to
it. Nothing here leaves the computer, nothing costs money, and no neural network is at work: the
pictures are collages of the uploaded photos, and each carries a SANDBOX mark.</p>
<table>
<thead><tr><th>Job</th><th>Kind</th><th>Status</th><th>Created</th><th>Seconds</th></tr></thead>
<tbody>{rows}</tbody>
</table>
<p>{models} models, {versions} versions, {files} files, {faults} faults waiting.</p>
</body>
</html>
"""


@get(["/", "/p/{job_id:str}"], media_type=MediaType.HTML, sync_to_thread=False)
def show_page(sandbox: TheSandbox) -> Response[str]:
    """Recent jobs, without what was asked for in them: the page needs no token."""
    store = sandbox.store
    recent = sorted(store.jobs.values(), key=lambda job: job.created_at, reverse=True)[:_SHOWN]
    html = _PAGE.format(
        rows="".join(map(_row, recent)) or '<tr><td colspan="5">No jobs yet.</td></tr>',
        models=len(store.models),
        versions=len(store.versions),
        files=len(store.files),
        faults=len(sandbox.faults.waiting),
    )
    headers = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return Response(html, media_type=MediaType.HTML, headers=headers)


def _row(job: Job) -> str:
    seconds = ""
    if job.completed_at and job.started_at:
        seconds = f"{(job.completed_at - job.started_at).total_seconds():.1f}"
    status = escape(job.status)
    return (
        f"<tr><td><code>{escape(job.id)}</code></td><td>{job.kind}</td>"
        f'<td class="{status}">{status}</td><td>{job.created_at:%Y-%m-%d %H:%M:%S}</td>'
        f"<td>{seconds}</td></tr>"
    )
