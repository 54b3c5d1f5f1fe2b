"""What every JSON format of the package shares: a schema version, and one sentence when a file is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_uncseg.errors import StudyError, UncsegError
from napari_uncseg.io.files import read_json


class JsonFormat(BaseModel):
    """Base of a format; a subclass names its fields, and its class variables say how it is told and mended.

    Fields that a format does not name are kept as they are, so that what a later version adds is not lost.
    """

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True, protected_namespaces=())

    what: ClassVar[str] = "JSON of napari-uncseg"
    """What such a file is, as in "P1_uncseg.json is no …"."""

    version: ClassVar[tuple[str, Any]] = ("schema", 1)
    """Field that tells the version of the format, and the one this version reads."""

    error: ClassVar[type[UncsegError]] = StudyError
    """What is raised when a file is none of these."""

    do: ClassVar[str] = "make it again"
    """What a user is to do about a damaged file."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file of this format, or raise the format's error with one sentence that names it."""
        return cls.parse(read_json(path, cls.error, cls.do), path)

    @classmethod
    def parse(cls, content: object, where: object) -> Self:
        """The same of JSON values that were read already; ``where`` names the file, and the line if it has several."""
        key, version = cls.version
        if not isinstance(content, dict) or key not in content:
            raise cls.error(f"{where} is no {cls.what}; {cls.do}.")
        if content[key] != version:
            raise cls.error(
                f"{where} has the {key} {content[key]!r}; this version of napari-uncseg reads {version!r}: update it, "
                f"or {cls.do}."
            )
        try:
            return cls.model_validate_json(json.dumps(content), strict=True)  # strictly as JSON has its types
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            words = first["msg"].removeprefix("Value error, ")
            raise cls.error(f"{where} is a damaged {cls.what} ({place}: {words}); {cls.do}.") from error
