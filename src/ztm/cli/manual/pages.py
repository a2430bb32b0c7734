"""The pages of the manual: what no table says is written here by hand."""

from ztm.apps.catalog import TITLES
from ztm.cli.commands import app_grammar, commands
from ztm.cli.main import USAGE
from ztm.cli.manual.commands import options, parts
from ztm.cli.manual.page import Literal, Page, Section, Terms, Text
from ztm.cli.settings import DEFAULTS, VARIABLES
from ztm.cli.shared import SHARED
from ztm.cli.tokens import VARIABLE as TOKEN

EXITS = Section(
    "Exit status",
    (
        Terms(
            (
                ("0", "All is done."),
                ("1", "It failed, was refused, or was not done in time; one line on standard error says why."),
                ("2", "What was typed is not understood."),
                ("3", "No agent answers at the address in force."),
                ("130", "Ended by Ctrl-C."),
                ("141", "Whoever read the output went away."),
            )
        ),
        Text("Commands of apps end with the status that the app gives, and forwarded programs with their own."),
    ),
)
ENVIRONMENT = Section(
    "Environment",
    (
        Terms(
            (
                (VARIABLES["agent"], f"The agent to talk to: host:port, or unix:/path. Default {DEFAULTS['agent']}."),
                (VARIABLES["mesh"], "The mesh that commands are about where several are joined."),
                (TOKEN, "The text of the agent's api.token, where it cannot be found in its place."),
                ("ZTM_COMPLETION_TIMEOUT", "Seconds after which completion gives no answer. Default 0.3."),
                ("NO_COLOR", "Where it is set, nothing is coloured."),
                ("HOME, XDG_CONFIG_HOME", "Where settings, and pointers to agents, are looked for."),
            )
        ),
    ),
)
FILES = Section(
    "Files",
    (
        Terms(
            (
                ("~/.ztm.conf", "Settings of the command line, as JSON; see ztm config."),
                ("~/.config/ztm/ztm.conf", "The same; where it exists, it is used instead."),
                ("~/.ztm", "Data of a hub or an agent, unless --data names another directory. Mode 0700."),
                ("~/.ztm/agents", "Where agents of this user listen, and where their tokens are."),
            )
        ),
    ),
)
SIGNALS = Section(
    "Signals",
    (
        Terms(
            (
                ("SIGTERM, SIGINT", "Take nothing new, let what runs finish for a while, and end with status 0."),
                ("a second one", "End at once."),
            )
        ),
    ),
)


def program() -> Page:
    """All commands: the page ztm(1)."""
    grammar = commands()
    shared = Section("Options of every command", (options(SHARED),))
    return Page(
        "ztm",
        1,
        "zero-trust mesh: command line of an agent, and hub and agent themselves",
        (
            Section("Synopsis", (Literal(USAGE.partition("\n\n")[2]),)),
            Section(
                "Description",
                (
                    Text(
                        "An agent connects this machine to one or more meshes; hubs relay between agents. "
                        "Most commands ask the agent of this machine over its local port, and say nothing where all "
                        "went well. Options may stand anywhere, as --option value or --option=value; -- ends them."
                    ),
                ),
            ),
            Section("Commands", parts=parts(grammar)),
            shared,
            *(
                Section(f"Commands of the app {name}", (Text(f"{title}."),), parts(app_grammar(name)))
                for name, title in TITLES.items()
            ),
            EXITS,
            ENVIRONMENT,
            FILES,
        ),
        ("ztm-hub(8)", "ztm-agent(8)", "ztm-permit(5)"),
    )


def hub() -> Page:
    """The hub: ztm-hub(8)."""
    return Page(
        "ztm-hub",
        8,
        "the hub of a mesh",
        (
            Section(
                "Description",
                (
                    Text(
                        "A hub listens on one public TCP port. Agents dial it by TLS with mutual certificates; it "
                        "knows which endpoints there are and joins their streams. It is also the authority of its "
                        "mesh: it signs the certificates that the user root asks for."
                    ),
                    Text(
                        "A new hub makes the authority of a new mesh and writes the permit of root, with its private "
                        "key, to the file of --permit. Who has that file rules the mesh."
                    ),
                ),
            ),
            Section(
                "Commands",
                parts=parts(commands(), ("run hub", "start hub", "stop hub", "root", "ca export", "ca import")),
            ),
            SIGNALS,
            Section(
                "Files",
                (
                    Terms(
                        (
                            ("DIR/ztm-hub.db", "Certificates and keys of the authority, permits, files, evictions."),
                            ("DIR/hub.lock", "Held while the hub runs."),
                        )
                    ),
                    Text("DIR is the directory of --data, ~/.ztm by default."),
                ),
            ),
            EXITS,
        ),
        ("ztm(1)", "ztm-agent(8)", "ztm-permit(5)"),
    )


def agent() -> Page:
    """The agent: ztm-agent(8)."""
    return Page(
        "ztm-agent",
        8,
        "the agent of a machine",
        (
            Section(
                "Description",
                (
                    Text(
                        "An agent keeps this machine in its meshes: it dials the hubs of each mesh, stays connected, "
                        "runs apps such as tunnel, and serves the local API that the command line and the web page "
                        "use. It listens on loopback only, and lets in who shows its token."
                    ),
                ),
            ),
            Section(
                "Commands",
                parts=parts(commands(), ("run agent", "start agent", "stop agent", "join", "leave", "identity")),
            ),
            SIGNALS,
            Section(
                "Files",
                (
                    Terms(
                        (
                            ("DIR/ztm.db", "The agent's identity, joined meshes, settings of apps."),
                            ("DIR/api.token", "The token of the local API; new at each start. Mode 0600."),
                            ("DIR/meshes", "Files and apps of each mesh."),
                            ("DIR/agent.lock", "Held while the agent runs."),
                        )
                    ),
                    Text("DIR is the directory of --data, ~/.ztm by default."),
                ),
            ),
            EXITS,
        ),
        ("ztm(1)", "ztm-hub(8)", "ztm-permit(5)"),
    )


PERMIT = """{
  "ca": "-----BEGIN CERTIFICATE-----...",
  "agent": {
    "certificate": "-----BEGIN CERTIFICATE-----...",
    "privateKey": "-----BEGIN PRIVATE KEY-----...",
    "labels": ["site=paris"]
  },
  "bootstraps": ["hub.example.com:8888"]
}"""


def permit() -> Page:
    """The file: ztm-permit(5)."""
    return Page(
        "ztm-permit",
        5,
        "the file that lets a user join a mesh",
        (
            Section(
                "Description",
                (
                    Text(
                        "A permit is one JSON object in UTF-8. Root has the first one from the hub, and issues one "
                        "to each user with ztm invite. Fields that are not named here are ignored."
                    ),
                    Literal(PERMIT),
                ),
            ),
            Section(
                "Fields",
                (
                    Terms(
                        (
                            ("ca", "The certificate of the mesh's authority, PEM. Hubs must show one that it signed."),
                            ("agent.certificate", "The user's certificate, PEM. Its common name is the user's name."),
                            (
                                "agent.privateKey",
                                "Its key, PEM PKCS#8. Only in permits of root: others fit one agent's own key.",
                            ),
                            ("agent.labels", "Optional: labels that the endpoint has at first."),
                            ("bootstraps", "At least one address of a hub, host:port; IPv6 as [::1]:8888."),
                        )
                    ),
                ),
            ),
            Section(
                "Notes",
                (
                    Text(
                        "Agents have their certificates signed anew when fewer than 100 days are left, so a permit is "
                        "needed once. It is worth nothing after the user was evicted or the permit revoked, nor after "
                        "the end that ztm invite --expires gave it, beyond which nothing is signed anew."
                    ),
                    Text(
                        "A permit of root holds a private key: keep it at mode 0600 and off other machines. Show what "
                        "a permit says, without its key, by ztm permit show."
                    ),
                ),
            ),
        ),
        ("ztm(1)", "ztm-hub(8)", "ztm-agent(8)"),
    )
