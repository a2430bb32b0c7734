// The page's own address ends with a slash, so relative addresses lead to this app and nowhere else.
const list = document.getElementById("notes");
const text = document.getElementById("text");

async function show() {
  const notes = await (await fetch("api/notes")).json();
  list.replaceChildren(...notes.map((note) => Object.assign(document.createElement("li"), { textContent: note.text })));
}

document.getElementById("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = JSON.stringify({ text: text.value });
  await fetch("api/notes", { method: "POST", headers: { "content-type": "application/json" }, body });
  text.value = "";
  await show();
});

show();
