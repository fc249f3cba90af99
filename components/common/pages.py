"""Pages: self-contained HTML from jinja2 templates, every value escaped, no request of any kind."""

from __future__ import annotations

import math
from typing import Any

import jinja2


def render(package: str, template: str, **context: Any) -> str:
    """Renders a template of a component.

    Args:
      package: import name of the component's package, which has the folder `templates`.
      template: the file's name there. It may extend `base.html`, which has the blocks `title` and `content`.
      **context: the template's variables. Strings are escaped.

    Returns:
      The page.
    """
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(package), jinja2.PackageLoader("headwater.components.common")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = count
    environment.filters["number"] = number
    environment.filters["percent"] = percent
    return environment.get_template(template).render(**context)


def count(value: float) -> str:
    """A whole number with its thousands apart: 336,776."""
    return f"{int(value):,}"


def number(value: float) -> str:
    """A number at four significant digits, without an exponent where a person would write none."""
    if value is None or math.isnan(value):
        return "–"
    if value == int(value) and abs(value) < 1e15 if math.isfinite(value) else False:
        return f"{int(value):,}"
    if 1e-3 <= abs(value) < 1e6:
        digits = max(0, 3 - int(math.floor(math.log10(abs(value)))))
        return f"{value:,.{digits}f}"
    return f"{value:.3e}"


def percent(share: float) -> str:
    """A share between 0 and 1 as a percentage that does not round something to nothing."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    return f"{share * 100:.1f} %"
