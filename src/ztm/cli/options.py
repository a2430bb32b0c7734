"""The options of `run hub|agent`, `start hub|agent`, `root` and `ca`, as help shows them.

One table each, so that a service takes what a foreground process takes. Nothing is read here; see `cli/run.py`.

Source: spec cli.md section 7.
"""

from ztm.apps.grammar import Option

DATA = "~/.ztm"
HUB_LISTEN = "0.0.0.0:8888"
AGENT_LISTEN = "127.0.0.1:7777"
P2P_PORT = 17778
STUN_PORT = 3478

DATA_OPTION = Option("--data", "<dir>", f"Where everything is stored (default {DATA})", "-d")
NAMES_OPTION = Option(
    "--names", "<host:port ...>", "Addresses at which agents reach the hub; written into permits", "-n"
)
PQC_SIGNATURE = Option("--pqc-signature", "<alg>", "Post-quantum kind of new keys (ML-DSA-44, -65 or -87)")
PQC_OPTIONS = (
    Option("--pqc-key-exchange", "<alg>", "The only key exchange, post-quantum (ML-KEM-512, -768 or -1024)"),
    PQC_SIGNATURE,
)
CA_OPTIONS = (
    Option("--ca", "<url>", "Have certificates signed by this CA service instead of an own CA"),
    Option("--ca-cert", "<file>", "Trust this certificate for the service's https instead of the system's"),
    Option("--ca-token-file", "<file>", "Token to show the service (or in the environment: ZTM_CA_TOKEN)"),
    Option("--insecure-ca", "", "Allow plain http to a service on another machine: anyone between can then forge"),
)
PROCESS_OPTIONS = (
    Option("--drain", "<seconds>", "How long streams may go on when it is told to stop (default 10)"),
    Option("--metrics", "<[ip:]port>", "Serve /metrics and /healthz there (default ip 127.0.0.1; off without)"),
    Option("--log-format", "<form>", "text or json (default text)"),
    Option("--log-level", "<level>", "debug, info, warning or error (default info)"),
)
HUB_OPTIONS = (
    DATA_OPTION,
    Option("--listen", "<[ip:]port>", f"Where to listen (default {HUB_LISTEN})", "-l"),
    NAMES_OPTION,
    Option("--permit", "<file>", "Where to write the root permit when the hub is new", "-p"),
    *CA_OPTIONS,
    Option("--max-agents", "<n>", "How many endpoints may connect (default 100)"),
    Option("--max-sessions", "<n>", "How many forwarding sessions there may be (default 1000)"),
    *PQC_OPTIONS,
    *PROCESS_OPTIONS,
    Option("--bootstrap", "<host:port ...>", "Not supported (hub clusters of v1's Enterprise edition)"),
    Option("--zone", "<zone>", "Not supported (hub clusters of v1's Enterprise edition)"),
)
"""Of `run hub` and of `start hub`."""
AGENT_OPTIONS = (
    DATA_OPTION,
    Option(
        "--listen",
        "<[ip:]port|unix:path ...>",
        f"Where its local API listens (default {AGENT_LISTEN}); a Unix socket may stand beside the port",
        "-l",
    ),
    Option("--join", "<mesh>", "Join a mesh first; needs --join-as and --permit"),
    Option("--join-as", "<endpoint>", "Name of this endpoint in that mesh"),
    Option("--permit", "<file>", "Permit to join by", "-p"),
    Option("--proxy", "<url>", "Reach hubs through http://host:port or socks://host:port (or ZTM_PROXY)"),
    Option("--enable-p2p", "", "Accepted as in v1; direct connections are not built in this version"),
    Option("--p2p-port", "<port>", f"UDP port of direct connections (default {P2P_PORT})"),
    Option("--stun-server", "<host[:port] ...>", f"STUN servers for direct connections (default port {STUN_PORT})"),
    *PQC_OPTIONS,
    *PROCESS_OPTIONS,
    Option("--insecure-open-api", "", "Ask no token of local programs, as v1 does: any of them then rules this agent"),
    Option("--unconfined-apps", "", "Start apps by others unconfined: they may then read this agent's keys"),
    Option("--allow-origin", "<origin ...>", "Let pages of these origins use the local API with its token"),
)
"""Of `run agent` and of `start agent`."""
