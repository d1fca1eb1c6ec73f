"""Generated requests after the API's own OpenAPI description, by schemathesis.

    python -m tests.support.openapi_check [--examples 1000] [--seed 1]

Every response must have a documented status and content type, a body that its schema allows, and no
5xx status except those documented. Random bytes are not audio, so few recordings are accepted.
"""

import argparse
from collections import Counter

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from starlette.types import ASGIApp

CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    not_a_server_error,
]


def check_api(app: ASGIApp, *, examples: int, seed: int) -> Counter[str]:
    """Send generated requests to every operation; returns counts per operation and status.

    Args:
        app: application to check.
        examples: maximum requests per operation.
        seed: seed of the generator.

    Raises:
        Exception: a response breaks the description.
    """
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    counts: Counter[str] = Counter()
    for result in schema.get_all_operations():
        operation = result.ok()

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy())
        def check(case: schemathesis.Case) -> None:
            response = case.call_and_validate(checks=CHECKS)
            counts[f"{case.method} {case.path} {response.status_code}"] += 1

        check()
    return counts


def main() -> None:
    from asr_s2s.serve.app import make_app
    from tests.support.request_fuzz import make_service

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--examples", type=int, default=1000, help="in all")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    service = make_service()
    app = make_app(service)
    operations = sum(len(methods) for methods in app.openapi()["paths"].values())
    counts = check_api(app, examples=-(-options.examples // operations), seed=options.seed)
    service.close()
    for line, count in sorted(counts.items()):
        print(f"{count:6} {line}")


if __name__ == "__main__":
    main()
