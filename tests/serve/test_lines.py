"""The translation route, with concurrent clients."""

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

import asr_s2s
from asr_s2s.translator import Translator
from tests.support.servers import Server

LINES = [
    "Two dogs are playing.",
    "A man in a red shirt rides a bicycle along the river.",
    "Children eat ice cream.",
    "The old woman is sitting on a bench and reads a newspaper in the sun.",
]


@pytest.fixture(scope="module")
def translator() -> Translator:
    return asr_s2s.load_translator("en-de", "cpu")


def translate(server: Server, **fields: Any) -> httpx.Response:
    return server.http.post("/v1/translate", json=fields)


def test_concurrent_clients_get_the_same_results_as_alone(
    server: Server, translator: Translator
) -> None:
    expected = {result.source: result for result in translator.translate(LINES)}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda line: translate(server, text=line), LINES * 2))
    for answer in answers:
        (row,) = answer.json()["translations"]
        assert row["text"] == expected[row["source"]].text
        assert row["score"] == pytest.approx(expected[row["source"]].score, abs=1e-3)


def test_translations_are_in_order_with_alternatives(
    server: Server, translator: Translator
) -> None:
    lines = ["", *LINES]
    rows = translate(server, text=lines, n_best=3, beam_size=4).json()["translations"]
    expected = translator.translate(lines, n_best=3, beam_size=4)
    assert [row["source"] for row in rows] == lines
    for row, result in zip(rows, expected, strict=True):
        assert row["text"] == result.text
        texts = [other["text"] for other in row.get("alternatives", [])]
        assert texts == [other.text for other in result.alternatives]


def test_requests_take_options_of_generation(server: Server, translator: Translator) -> None:
    options: dict[str, Any]
    for options in (
        {"sample": True, "seed": 3, "temperature": 0.8, "n_best": 2},
        {"must": ["Katze"], "prefix": "Die"},
    ):
        rows = translate(server, text=LINES, **options).json()["translations"]
        expected = translator.translate(LINES, **options)
        assert [row["text"] for row in rows] == [result.text for result in expected]
    for options in ({"sample": True, "must": ["Katze"]}, {"top_p": 2}, {"prefix": "x" * 1000}):
        assert translate(server, text=LINES, **options).status_code == 400


def test_an_alignment_has_the_tokens_of_both_sides(server: Server) -> None:
    (row,) = translate(server, text="Two dogs are playing.", alignment=True).json()["translations"]
    alignment = row["alignment"]
    assert (
        "".join(alignment["source"]).replace("\u2581", " ").strip() == "Two dogs are playing.</s>"
    )
    weights = alignment["weights"]
    assert weights["rows"] == len(alignment["output"])
    assert weights["columns"] == len(alignment["source"])
    values = np.frombuffer(base64.b64decode(weights["bytes"]), np.uint8) / 255
    values = weights["low"] + values * (weights["high"] - weights["low"])
    assert values.reshape(weights["rows"], -1).sum(1) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"text": ""}, "text"),
        ({"text": ["", " "]}, "text"),
        ({"text": ["a"] * 1001}, "text"),
        ({"text": "a" * 10_001}, "text"),
        ({"text": 5}, "text"),
        ({}, "text"),
        ({"text": "a", "beam_size": 1000}, "beam_size"),
        ({"text": "a", "n_best": "many"}, "n_best"),
    ],
)
def test_an_invalid_request_is_refused_and_its_field_named(
    server: Server, fields: dict[str, Any], param: str
) -> None:
    answer = translate(server, **fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_half_a_surrogate_pair_does_not_fail_other_requests(server: Server) -> None:
    bodies = [b'{"text": "\\ud800"}', b'{"text": "Children eat ice cream."}'] * 2
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda body: server.http.post("/v1/translate", content=body), bodies)
        )
    assert [answer.status_code for answer in answers] == [400, 200, 400, 200]
    assert "ud800" in answers[0].json()["error"]["message"]
