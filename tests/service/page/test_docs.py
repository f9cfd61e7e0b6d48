"""The page /docs shows the OpenAPI document with the service's own scripts."""

import requests
from playwright.sync_api import expect

from tests.conftest import TIMEOUT_S
from tests.service.page.conftest import Visit


def test_the_document_is_shown_whole_and_without_the_internet(
    server_url: str, visit: Visit
) -> None:
    page = visit()  # which checks that there were no foreign requests
    page.goto(f"{server_url}/docs")
    document = requests.get(f"{server_url}/openapi.json", timeout=TIMEOUT_S).json()
    for path, operations in document["paths"].items():
        for method, described in operations.items():
            section = page.locator(f'section[id="{method}-{path}"]')
            expect(section).to_contain_text(described["summary"])
            for status in described["responses"]:
                expect(section).to_contain_text(status)
            for parameter in described.get("parameters", []):
                expect(section).to_contain_text(parameter["name"])
    for name, schema in document["components"]["schemas"].items():
        section = page.locator(f"section#{name}")
        for field in schema["properties"]:
            expect(section).to_contain_text(field)
    page.get_by_role("link", name="Prediction", exact=True).first.click()
    assert page.url.endswith("#Prediction")
