// The page of the local agent: signing in, meshes, endpoints and live events.
// It asks nobody but the agent that it came from, and keeps nothing when it is closed.

const KEPT = 200; // events shown; a page that stays open for days must not grow
const RETRY_MS = 3000;
const REFRESH_MS = 300; // changes that come together are shown together

const at = (id) => document.getElementById(id);
let csrf = "";
let stream = null;
let due = null;

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(method, path, body) {
  const headers = {};
  if (body !== undefined) headers["content-type"] = "application/json";
  if (method !== "GET" && csrf) headers["x-ztm-csrf"] = csrf;
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await answer.text();
  if (!answer.ok) throw new Refused(answer.status, messageOf(text) || answer.statusText);
  return text ? JSON.parse(text) : null;
}

function messageOf(text) {
  try {
    return JSON.parse(text).message;
  } catch {
    return text;
  }
}

// ---------------------------------------------------------------- signing in

async function begin() {
  try {
    const login = await ask("GET", "/api/login");
    csrf = login.csrf || "";
    show(login.signedIn);
  } catch (error) {
    tell(error);
  }
}

function show(isIn) {
  at("enter").hidden = isIn;
  at("overview").hidden = !isIn;
  at("leave").hidden = !isIn || !csrf;
  if (isIn) {
    follow();
    refresh();
  } else {
    stream?.close();
    stream = null;
    light("", "");
    at("version").textContent = "";
    at("warnings").hidden = true;
    for (const id of ["meshes", "endpoints", "events"]) at(id).replaceChildren();
    at("token").focus();
  }
}

at("enter-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  at("enter-problem").textContent = "";
  try {
    const login = await ask("POST", "/api/login", { token: at("token").value });
    csrf = login.csrf || "";
    show(true);
  } catch (error) {
    at("enter-problem").textContent = error.message;
  } finally {
    at("token").value = "";
  }
});

at("leave").addEventListener("click", async () => {
  try {
    await ask("DELETE", "/api/login");
    csrf = "";
    show(false);
  } catch (error) {
    tell(error);
  }
});

// ---------------------------------------------------------------- what there is

async function refresh() {
  try {
    const [version, meshes] = await Promise.all([ask("GET", "/api/version"), ask("GET", "/api/meshes")]);
    at("problem").hidden = true;
    at("version").textContent = version.ztm.tag;
    at("warnings").hidden = !version.warnings?.length;
    at("warnings").replaceChildren(...(version.warnings || []).map((text) => element("li", text)));
    showMeshes(meshes);
    const lists = await Promise.all(meshes.filter((mesh) => mesh.connected).map(endpointsOf));
    showEndpoints(lists.flat());
  } catch (error) {
    tell(error);
  }
}

async function endpointsOf(mesh) {
  try {
    const path = `/api/meshes/${encodeURIComponent(mesh.name)}/endpoints?limit=1000`;
    return (await ask("GET", path)).map((endpoint) => ({ ...endpoint, mesh: mesh.name }));
  } catch (error) {
    if (error.status === 401) throw error;
    return []; // the hub went away just now; the mesh's own row says why
  }
}

function showMeshes(meshes) {
  at("no-meshes").hidden = meshes.length > 0;
  at("meshes").replaceChildren(
    ...meshes.map((mesh) => {
      const state = element("td", mesh.state, mesh.connected ? "good" : mesh.state === "connecting" ? "wait" : "bad");
      state.classList.add("reason");
      if (!mesh.connected && mesh.lastError) state.append(element("div", mesh.lastError, "quiet"));
      return row(mesh.name, mesh.agent.name, mesh.agent.username, mesh.bootstraps.join(", "), state);
    }),
  );
}

function showEndpoints(endpoints) {
  const online = endpoints.filter((endpoint) => endpoint.online).length;
  at("online").textContent = endpoints.length ? `${online} of ${endpoints.length} online` : "";
  at("no-endpoints").hidden = endpoints.length > 0;
  at("endpoints").replaceChildren(
    ...endpoints.map((endpoint) =>
      row(
        endpoint.mesh,
        endpoint.isLocal ? `${endpoint.name} (this one)` : endpoint.name,
        endpoint.username,
        endpoint.ip ? `${endpoint.ip}:${endpoint.port}` : "",
        element("td", endpoint.online ? "Online" : "Offline", endpoint.online ? "good" : "quiet"),
        endpoint.ping ? `${endpoint.ping} ms` : "",
        endpoint.agent?.version?.ztm?.tag || "",
      ),
    ),
  );
}

// ---------------------------------------------------------------- what happens

function follow() {
  if (stream) return;
  stream = new EventSource("/api/events");
  stream.onopen = () => light("live", "good");
  stream.onerror = () => {
    light("reconnecting", "wait");
    if (stream.readyState === EventSource.CLOSED) {
      stream = null;
      setTimeout(begin, RETRY_MS);
    }
  };
  for (const type of ["mesh", "endpoint", "tunnel", "log", "lost"]) {
    stream.addEventListener(type, (event) => happened(JSON.parse(event.data)));
  }
}

function happened(event) {
  at("no-events").hidden = true;
  const time = event.time ? new Date(event.time).toLocaleTimeString() : "";
  const line = element("li");
  line.append(element("span", time, "quiet"), element("span", event.type, "quiet"), words(event));
  at("events").prepend(line);
  while (at("events").children.length > KEPT) at("events").lastChild.remove();
  if (event.type !== "log" && due === null) {
    due = setTimeout(() => {
      due = null;
      refresh();
    }, REFRESH_MS);
  }
}

function words(event) {
  const why = event.reason ? `: ${event.reason}` : "";
  switch (event.type) {
    case "mesh":
      return element("span", `${event.mesh} ${event.state}${why}`, event.state === "connected" ? "good" : "wait");
    case "endpoint":
      return element("span", `${event.mesh}/${event.name} ${event.online ? "up" : "down"}`, event.online ? "good" : "wait");
    case "tunnel":
      return element("span", `${event.kind} ${event.name} ${event.state}${why}`, event.state === "open" ? "good" : "wait");
    case "log":
      return element("span", `${event.app ? `${event.app}: ` : ""}${event.message}`, event.level === "error" ? "bad" : "");
    default:
      return element("span", `${event.count ?? "some"} events were lost on the way`, "wait");
  }
}

// ---------------------------------------------------------------- parts

function tell(error) {
  if (error.status === 401) {
    csrf = "";
    show(false);
    return;
  }
  at("problem").textContent = `The agent does not answer: ${error.message}`;
  at("problem").hidden = false;
}

function light(text, kind) {
  at("stream").textContent = text;
  at("stream").className = `badge ${kind}`;
}

function row(...cells) {
  const made = element("tr");
  made.append(...cells.map((cell) => (cell instanceof Node ? cell : element("td", cell))));
  return made;
}

function element(name, text = "", kind = "") {
  const made = document.createElement(name);
  made.textContent = text; // never as HTML: names come from others
  if (kind) made.className = kind;
  return made;
}

begin();
