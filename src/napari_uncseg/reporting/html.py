"""The pages of the package as HTML: one way to fill a template, the same for every report."""

from __future__ import annotations

from typing import Any


def fill_template(package: str, name: str, **content: Any) -> str:
    """Fill a template of a room; what is told is escaped, and what is missing is an error.

    Parameters
    ----------
    package : str
        Room whose folder ``templates`` holds it, such as ``napari_uncseg.evaluation``.
    name : str
        File of the template.
    **content
        What it asks for.

    Returns
    -------
    str
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(**content)
