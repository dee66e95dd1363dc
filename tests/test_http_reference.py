from __future__ import annotations

from serving import SPEC

from benchmarks.http_reference import OUT, reference


def test_the_http_reference_is_that_of_the_openapi_description() -> None:
    assert OUT.read_text("utf-8") == reference(SPEC)


def test_every_route_and_field_is_in_it() -> None:
    text = reference(SPEC)
    for path, methods in SPEC["paths"].items():
        assert all(f"### {method.upper()} {path}\n" in text for method in methods)
    for schema in SPEC["components"]["schemas"].values():
        assert all(f"| `{field}` |" in text for field in schema["properties"])
