"""A FastAPI application as an app of ztm: its page is ``gui/index.html``, and its notes are in the app's own files."""

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from ztm_app import App

NOTES = "/local/notes.json"

api = FastAPI(title="Board")
app = App(user=api)


class Note(BaseModel):
    """One note."""

    text: str = Field(min_length=1, max_length=500)


@api.get("/api/notes")
async def notes() -> list[Note]:
    """All notes."""
    return await app.files.read_json(NOTES, [])


@api.post("/api/notes", status_code=201)
async def add(note: Note) -> Note:
    """Put up a note."""
    await app.files.write(NOTES, [*await app.files.read_json(NOTES, []), note.model_dump()])
    return note


@api.delete("/api/notes/{number}", status_code=204)
async def remove(number: int) -> None:
    """Take down the note of that number, from 0."""
    found = await app.files.read_json(NOTES, [])
    if not 0 <= number < len(found):
        raise HTTPException(404, "no such note")
    await app.files.write(NOTES, found[:number] + found[number + 1 :])
