"""The SVG of a stop: well-formed, standing on its own, and with all that the terminal's picture has."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from smentry.picture import svg
from tests.picture.timelines import SAMPLES, STRANGE, alone, drawn, full, short, strange

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("name", SAMPLES)
def test_the_svg_is_well_formed_and_stands_on_its_own(name: str) -> None:
    shown = svg.draw(drawn(SAMPLES[name]()))
    root = ElementTree.fromstring(shown.encode())
    assert root.tag == SVG + "svg"
    assert root.find(SVG + "title") is not None
    assert root.find(SVG + "desc") is not None
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"
    assert {element.tag for element in root.iter()} <= {
        SVG + tag for tag in ("svg", "title", "desc", "style", "rect", "text", "line", "path", "g", "circle")
    }
    assert "url(" not in shown
    assert shown.count("http") == 1  # its own namespace
    height = float(root.get("height", "0"))
    assert all(
        0 < float(element.get("y", "0")) < height for element in root.iter(SVG + "text") if element.get("y") != "4.0"
    )
    assert all(float(element.get("width", "-1")) >= 0 for element in root.iter(SVG + "rect"))


def test_the_svg_has_what_the_terminal_has() -> None:
    for make in (short, full, alone):
        made = drawn(make())
        root = ElementTree.fromstring(svg.draw(made).encode())
        words = {element.text for element in root.iter(SVG + "text")}
        assert {made.title, *made.heading, *made.notes, *(row.label for row in made.rows)} <= words
        assert {text for _, _, text in made.deeds} <= words
        assert {f"{text}: {at:g} s" for at, text in made.limits} <= words
        said = [element.text for element in root.iter(SVG + "title")][1:]
        assert said == ["\n".join(row.said) for row in made.rows]


def test_names_come_through_the_svg_unchanged() -> None:
    made = ElementTree.fromstring(svg.draw(drawn(strange())).encode())
    words = [element.text or "" for element in made.iter(SVG + "text")]
    for name in STRANGE[:3]:
        assert any(f"{name} (2" in word for word in words)
