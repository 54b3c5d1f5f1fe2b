"""What every JSON format of the package shares: a schema version, and one sentence when a file is damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_uncseg.errors import ForeignFile, StudyError, UncsegError
from napari_uncseg.io.files import exists, read_json


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
    def check_replaceable(cls, path: Path, *, damaged: bool = False) -> None:
        """Make sure that what stands where a file of this format would be written, if anything, is one of any version.

        Parameters
        ----------
        path : Path
        damaged : bool
            Whether a file that holds no JSON at all may be replaced, too.

        Raises
        ------
        ForeignFile
            When it is something else, which nobody may replace.
        """
        if not exists(path):
            return
        key, version = cls.version
        try:
            content = read_json(path)
        except UncsegError:
            content = {"research_use_only": damaged}
        if content.get("research_use_only") and str(content.get(key, "")).startswith(str(version).rstrip("0123456789")):
            return
        raise ForeignFile(f"{path} is no {cls.what} and is not replaced; move it away or choose another name.")

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
            # Strictly as JSON has its types; a file name that is no text on this system is data all the same.
            return cls.model_validate_json(
                json.dumps(content, ensure_ascii=False).encode(errors="replace"), strict=True
            )
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            words = first["msg"].removeprefix("Value error, ")
            raise cls.error(f"{where} is a damaged {cls.what} ({place}: {words}); {cls.do}.") from error
