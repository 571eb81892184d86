"""Write docs/openapi.json from the code, or with --check say whether it is up to date."""

import difflib
import json
import sys
from pathlib import Path

from visiona.adapters.master_keys import new_master_key
from visiona.bootstrap import build
from visiona.entrypoints.api.openapi import document as complete_document
from visiona.entrypoints.asgi import create_asgi
from visiona.settings import Settings

TARGET = Path(__file__).parents[1] / "docs" / "openapi.json"


def document() -> str:
    settings = Settings(
        secret_key="x" * 32,
        master_keys=(new_master_key(),),
        database_url="postgresql://localhost/none",  # never opened
        replicate_api_token="none",
        stripe_api_key="sk_test_none",
    )
    schema = create_asgi(build(settings, "app")).openapi_schema
    return json.dumps(complete_document(schema), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> int:
    fresh = document()
    known = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
    if "--check" not in sys.argv:
        TARGET.parent.mkdir(exist_ok=True)
        TARGET.write_text(fresh, encoding="utf-8")
        return 0
    difference = difflib.unified_diff(known.splitlines(), fresh.splitlines(), "docs/openapi.json", "the code")
    sys.stdout.writelines(f"{line}\n" for line in difference)
    if known != fresh:
        print("docs/openapi.json is out of date: run `make openapi` and look at the difference.")
    return int(known != fresh)


if __name__ == "__main__":
    sys.exit(main())
