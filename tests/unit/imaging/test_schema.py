"""The catalogue's tables are there, and `dicom_values` finds what a document holds."""

from server.storage.db import Database
from server.storage.sql import Statement

VALUES = Statement("values", "SELECT dicom_values(:document, :path) AS value")


async def test_values_of_any_attribute(db: Database) -> None:
    document = (
        b'{"00100010":{"vr":"PN","Value":[{"Alphabetic":"A","Ideographic":"B"}]},'
        b'"00400275":{"vr":"SQ","Value":[{"00400009":{"vr":"SH","Value":["x",null]}}]},'
        b'"7FE00010":{"vr":"OW","BulkDataURI":"\x01/studies/1"},"00280010":{"vr":"US","Value":[512]}}'
    )

    async def values(path: str) -> list[str]:
        rows = await db.fetch_all(VALUES, {"document": document, "path": path})
        return [row["value"] for row in rows]

    assert await values('$."00100010".Value[*]') == ["A=B"]
    assert await values('$."00400275".Value[*]."00400009".Value[*]') == ["x"]
    assert await values('$."00280010".Value[*]') == ["512"]
    assert await values('$."00280011".Value[*]') == []
